/** What this host uses of the SDK's key-value storage; the SDK's own typings declare it, npm's do not. */

declare module "embedded:storage/key-value" {
  interface Storage {
    read(key: string): ArrayBuffer | string | number | bigint | undefined;
    write(key: string, value: string): void;
    delete(key: string): void;
    close(): void;
    [Symbol.iterator](): IterableIterator<string>;
  }

  const KeyValueStorage: { open(options: { path: string; format: "string" }): Storage };
  export default KeyValueStorage;
}

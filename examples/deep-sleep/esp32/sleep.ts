/** A function in C of that name, which the SDK's linker looks for. */
declare function native(name: string): (...parameters: number[]) => void;

/** Sleeps for so many seconds; the program starts anew afterwards. */
export function deepSleep(seconds: number): void {
  native("xs_example_deepSleep").call(undefined, seconds);
}

/** `Resource`: files that the manifest puts into the firmware. Tests put them into {@link resources}. */

export const resources = new Map<string, Uint8Array>();

/** On a device its bytes lie in flash; they are seen through a typed array. */
export default class Resource extends ArrayBuffer {
  constructor(path: string) {
    const bytes = resources.get(path);
    if (!bytes) throw new URIError(`resource not found: ${path}`);
    super(bytes.length);
    new Uint8Array(this).set(bytes);
  }

  static exists(path: string): boolean {
    return resources.has(path);
  }
}

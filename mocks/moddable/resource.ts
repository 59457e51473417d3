/** `Resource`: files that the manifest adds to the firmware. Tests add them to {@link resources}. */

export const resources = new Map<string, Uint8Array>();

/** On a device, its bytes are in flash and are accessed with a typed array. */
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

/** `Resource`: files that the manifest puts into the firmware. Tests put them into {@link resources}. */

export const resources = new Map<string, Uint8Array>();

export default class Resource extends Uint8Array {
  constructor(path: string) {
    const bytes = resources.get(path);
    if (!bytes) throw new URIError(`resource not found: ${path}`);
    super(bytes);
  }

  static exists(path: string): boolean {
    return resources.has(path);
  }
}

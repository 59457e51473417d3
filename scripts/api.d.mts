/** The API of all entries as text, and what of it has no doc comment. */
export function readApi(): { readonly report: string; readonly undocumented: readonly string[] };

/** The text of src/crypto/sha256-block.ts. */
export function unroll(): string;

/** A C function, found by the SDK's linker by name. */
declare function native(name: string): (...parameters: number[]) => void;

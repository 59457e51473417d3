/** A function in C, which the SDK's linker looks for by its name. */
declare function native(name: string): (...parameters: number[]) => void;

export function install(folder: string): string | undefined;
export function isInstalled(folder: string): boolean;

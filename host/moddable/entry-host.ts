// A module in the package's own folder, from which relative imports would not resolve.
export * from "tencent-iothub-xs/src/entries/host";

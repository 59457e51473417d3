// A module named as the package has no folder, so relative imports would not resolve from it.
export * from "tencent-iothub-xs/host/moddable/index-http";

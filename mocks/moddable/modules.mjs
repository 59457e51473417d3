/** Which stand-in takes the place of which module of the SDK, relative to this folder. */
export const standIns = {
  "embedded:io/socket/tcp": "tcp.ts",
  "embedded:io/socket/udp": "udp.ts",
  "embedded:network/http/client": "http-client.ts",
  "mc/config": "config.ts",
  Resource: "resource.ts",
  crypt: "crypt.ts",
  net: "net.ts",
  preference: "preference.ts",
  rsa: "rsa.ts",
  time: "time.ts",
  timer: "timer.ts",
};

// What must not be left of a test file: warnings of the Node process, and handles that are still open.
import { subscribe, unsubscribe } from "node:diagnostics_channel";

/** Warnings that do not fail a run. A reason is printed with each run. */
export const allowedWarnings = [
  {
    name: "ExperimentalWarning",
    message: /^VM Modules is an experimental feature/,
    reason: "jest runs ES modules by them",
  },
];

/** Warnings that a test file has failed for: where jest runs files in its main process, its reporter sees them, too. */
export const reported = new WeakSet();

export function isAllowed(warning) {
  return allowedWarnings.some(({ name, message }) => warning.name === name && message.test(warning.message));
}

/** One warning as a line, and where it came from. */
export function describeWarning(warning) {
  return `Node warned: ${warning.stack ?? `${warning.name}: ${warning.message}`}`;
}

/** Not held open by anyone: requests and turns that end by themselves. */
const passing =
  // Pipes are those of a child process, which is counted itself, or of the worker that runs the file.
  /^(Immediate|CloseReq|.*ReqWrap|.*Req|FSReqCallback|FSReqPromise|TCPConnectWrap|ShutdownWrap|WriteWrap|PipeWrap)$/;
/** Told apart by sockets, which are also seen where they do not keep the process alive, as those of a pool. */
const sockets = /^(TCPSocketWrap|TLSWrap)$/;

/** Follows what is opened from its creation on. */
export class OpenHandles {
  #before = countResources();
  #sockets = new Set();
  #timers = new Set();
  #note = ({ socket }) => this.#sockets.add(socket);

  /** @param global the test file's own; its timers are distinguished from jest's, which change meanwhile */
  constructor(global) {
    for (const [set, clear] of [
      ["setTimeout", "clearTimeout"],
      ["setInterval", "clearInterval"],
    ]) {
      const real = { set: global[set], clear: global[clear] };
      const tracked = (callback, ...more) => {
        const called = (...values) => {
          if (set === "setTimeout") this.#timers.delete(timer);
          return callback(...values);
        };
        const timer = real.set(typeof callback === "function" ? called : callback, ...more);
        this.#timers.add(timer);
        return timer;
      };
      global[set] = Object.defineProperties(tracked, Object.getOwnPropertyDescriptors(real.set));
      global[clear] = (timer) => {
        this.#timers.delete(timer);
        real.clear(timer);
      };
    }
    subscribe("net.client.socket", this.#note);
    subscribe("net.server.socket", this.#note);
  }

  stop() {
    unsubscribe("net.client.socket", this.#note);
    unsubscribe("net.server.socket", this.#note);
  }

  /** What is open and was not before, a line each. */
  list() {
    const found = [];
    for (const socket of this.#sockets) {
      if (socket.destroyed) this.#sockets.delete(socket);
      else found.push(`a socket, local port ${socket.localPort}, remote port ${socket.remotePort}`);
    }
    for (const [type, count] of countResources()) {
      let more = count - (this.#before.get(type) ?? 0);
      if (type === "Timeout")
        more = [...this.#timers].filter((timer) => timer.hasRef() && !timer._destroyed).length || more;
      if (more > 0) found.push(`${more} more of ${names[type] ?? type}${describeServers(type)}`);
    }
    return found;
  }
}

const names = {
  TCPServerWrap: "listening servers",
  Timeout: "running timers (setTimeout or setInterval)",
  ProcessWrap: "child processes",
  UDPWrap: "UDP sockets",
};

function countResources() {
  const counts = new Map();
  for (const type of process.getActiveResourcesInfo()) {
    if (!passing.test(type) && !sockets.test(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

// The only way to a server's address from here; without it the line says less.
function describeServers(type) {
  if (type !== "TCPServerWrap") return "";
  const servers = (process._getActiveHandles?.() ?? []).filter((h) => h.listening && h.address?.());
  return ` (listening now: ${servers.map((server) => `port ${server.address().port}`).join(", ")})`;
}

/**
 * Requirements on `embedded:io/socket/tcp` (ECMA-419 clause 10), as cases that run with the SDK's socket on the
 * simulator and with the stub under jest, with the same results. They use only the language.
 */

interface Socket {
  read(target?: number | Uint8Array): ArrayBuffer | number | undefined;
  write(bytes: Uint8Array): number | undefined;
  close(): void;
}

export type SocketClass = new (options: {
  address: string;
  port: number;
  nodelay?: boolean;
  onReadable?: (count: number) => void;
  onWritable?: (count: number) => void;
  onError?: () => void;
}) => Socket;

export interface TcpIoCase {
  readonly name: string;
  /** Behavior of the server; see `tcp-io-server.ts`. */
  readonly server: "echo" | "ten" | "large" | "ten and end" | "reset" | "refuse" | "silent";
  /** @returns the result, as JSON */
  client(TCP: SocketClass, port: number): Promise<unknown>;
  readonly expected: unknown;
}

const address = "127.0.0.1";

function bytesOf(read: ArrayBuffer | number | undefined): number[] | string {
  return read instanceof ArrayBuffer ? [...new Uint8Array(read)] : String(read);
}

function thrown(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch {
    return true;
  }
}

/** Opens a connection and resolves when it is writable. */
function connected(TCP: SocketClass, port: number): Promise<[Socket, number]> {
  return new Promise((resolve, reject) => {
    const socket: Socket = new TCP({
      address,
      port,
      onWritable: (count) => resolve([socket, count]),
      onError: () => reject(new Error("not connected")),
    });
  });
}

export const tcpIoCases: readonly TcpIoCase[] = [
  {
    name: "addresses and ports that are none",
    server: "silent",
    expected: [true, true, true],
    async client(TCP, port) {
      return [
        thrown(() => new TCP({ address: "localhost", port })),
        thrown(() => new TCP({ address, port: 65536 })),
        thrown(() => new TCP({ address, port: -1 })),
      ];
    },
  },
  {
    name: "nothing can be written or read before it is connected",
    server: "silent",
    expected: [true, "undefined"],
    async client(TCP, port) {
      const socket = new TCP({ address, port });
      const result = [thrown(() => socket.write(new Uint8Array(1))), bytesOf(socket.read() as undefined)];
      socket.close();
      return result;
    },
  },
  {
    name: "write returns what may be written next, and takes no more",
    server: "silent",
    expected: [1536, 1436, true, 0, true],
    async client(TCP, port) {
      const [socket, room] = await connected(TCP, port);
      const result = [
        room,
        socket.write(new Uint8Array(100)),
        thrown(() => socket.write(new Uint8Array(1437))),
        socket.write(new Uint8Array(1436)),
        thrown(() => socket.write(new Uint8Array(1))),
      ];
      socket.close();
      return result;
    },
  },
  {
    name: "the room comes back",
    server: "silent",
    expected: [1536, 1536, 1536],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const counts: number[] = [];
        const socket: Socket = new TCP({
          address,
          port,
          onWritable: (count) => {
            counts.push(count);
            if (counts.length < 3) {
              socket.write(new Uint8Array(1000));
            } else {
              socket.close();
              resolve(counts);
            }
          },
        });
      }),
  },
  {
    name: "views are written and read where they lie",
    server: "echo",
    expected: [2, 3, 4],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const bytes = Uint8Array.of(1, 2, 3, 4, 5);
        const socket: Socket = new TCP({
          address,
          port,
          onWritable: () => {
            if (bytes[0] === 1) socket.write(bytes.subarray(1, 4));
            bytes[0] = 0;
          },
          onReadable: () => {
            const into = new Uint8Array(5);
            socket.read(into.subarray(1, 4));
            socket.close();
            resolve([...into.subarray(1, 4)]);
          },
        });
      }),
  },
  {
    name: "the ways to read",
    server: "ten",
    expected: [10, [48, 49, 50], [51, 52], true, true, [53, 54, 55, 56, 57], "undefined"],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const socket: Socket = new TCP({
          address,
          port,
          onReadable: (count) => {
            const result: unknown[] = [count, bytesOf(socket.read(3) as ArrayBuffer)];
            const into = new Uint8Array(2);
            socket.read(into);
            result.push(
              [...into],
              thrown(() => socket.read(6)),
              thrown(() => socket.read(0)),
              bytesOf(socket.read() as ArrayBuffer),
              bytesOf(socket.read() as undefined),
            );
            socket.close();
            resolve(result);
          },
        });
      }),
  },
  {
    name: "no more than the receive buffer at once, and all of it in order",
    server: "large",
    expected: [5000, true, true],
    client: (TCP, port) =>
      new Promise((resolve) => {
        let sum = 0;
        let isBounded = true;
        let isInOrder = true;
        const socket: Socket = new TCP({
          address,
          port,
          onReadable: (count) => {
            isBounded &&= count <= 1536;
            for (const byte of new Uint8Array(socket.read(count) as ArrayBuffer)) isInOrder &&= byte === sum++ % 251;
            if (sum < 5000) return;
            socket.close();
            resolve([sum, isBounded, isInOrder]);
          },
        });
      }),
  },
  {
    name: "the end comes once, after what came before it",
    server: "ten and end",
    expected: ["10 bytes", "end"],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const events: string[] = [];
        let received = 0;
        const socket: Socket = new TCP({
          address,
          port,
          onReadable: (count) => {
            received += (socket.read(count) as ArrayBuffer).byteLength;
            if (received === 10) events.push("10 bytes");
          },
          onError: () => {
            events.push("end");
            // Once more would come before the promise's jobs have run.
            Promise.resolve().then(() => {
              socket.close();
              resolve(events);
            });
          },
        });
      }),
  },
  {
    name: "a reset comes as an error without a reason",
    server: "reset",
    expected: ["error"],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const socket: Socket = new TCP({
          address,
          port,
          onError: (...reason: unknown[]) => {
            socket.close();
            resolve(["error", ...reason]);
          },
        });
      }),
  },
  {
    name: "a refused connection comes as an error alone",
    server: "refuse",
    expected: ["error"],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const events: string[] = [];
        const socket: Socket = new TCP({
          address,
          port,
          onWritable: () => events.push("writable"),
          onReadable: () => events.push("readable"),
          onError: () => {
            socket.close();
            resolve([...events, "error"]);
          },
        });
      }),
  },
  {
    name: "after close, nothing is called back and nothing works but close",
    server: "ten",
    expected: [[10], true, true, false],
    client: (TCP, port) =>
      new Promise((resolve) => {
        const counts: number[] = [];
        const socket: Socket = new TCP({
          address,
          port,
          onReadable: (count) => {
            counts.push(count);
            socket.close();
            const result = [
              counts,
              thrown(() => socket.read()),
              thrown(() => socket.write(new Uint8Array(1))),
              thrown(() => socket.close()),
            ];
            // A second connection's first event is later than anything the first could still have.
            connected(TCP, port).then(([other]) => {
              other.close();
              resolve(result);
            });
          },
          onError: () => counts.push(-1),
        });
      }),
  },
];

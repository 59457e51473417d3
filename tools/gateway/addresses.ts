import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import { isPrivateAddress } from "./authority.js";

/** An IPv4 address of this machine. */
export interface LocalAddress {
  readonly address: string;
  /** Name of its network interface. */
  readonly interface: string;
}

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/**
 * Interfaces of virtual machines, containers and tunnels: a board on a desk cannot reach them, and their addresses change
 * nothing for it, so they come last.
 */
const virtual =
  /^(?:br-|cni|docker|flannel|lxc|lxdbr|podman|ppp|tailscale|tap|tun|utun|veth|virbr|vEthernet|vboxnet|vmnet|wg|zt)/i;

/**
 * Returns the IPv4 addresses of this machine: those that a board may reach first, then virtual interfaces, last loopback.
 * Boards have no IPv6 in Moddable's sockets.
 *
 * @returns `usable` ones, and `public` ones, which anyone may reach and for which the CA may not issue
 */
export function localAddresses(read: () => Interfaces = networkInterfaces): {
  readonly usable: readonly LocalAddress[];
  readonly public: readonly LocalAddress[];
} {
  const found = Object.entries(read()).flatMap(([name, infos = []]) =>
    infos
      // Node 18.0 to 18.3 gave the family as a number.
      .filter(({ family }) => family === "IPv4" || (family as unknown) === 4)
      .map(({ address, internal }) => ({
        address,
        interface: name,
        rank: internal || address.startsWith("127.") ? 2 : virtual.test(name) ? 1 : 0,
      })),
  );
  const sorted = found
    .filter(({ address }, i) => found.findIndex((other) => other.address === address) === i)
    .sort((a, b) => a.rank - b.rank)
    .map(({ address, interface: name }) => ({ address, interface: name }));
  return {
    usable: sorted.filter(({ address }) => isPrivateAddress(address)),
    public: sorted.filter(({ address }) => !isPrivateAddress(address)),
  };
}

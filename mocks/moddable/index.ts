/**
 * Stand-ins for the modules of the Moddable SDK that the host imports, so that the whole host runs on Node: over real
 * sockets on loopback, on a clock that can be stopped, with a flash whose power can be cut. `modules.mjs` maps modules
 * to files.
 */

import { board, resetBoard } from "./board.js";
import config from "./config.js";
import { Digest } from "./crypt.js";
import { removeGlobals } from "./globals.js";
import { restart as restartMachine } from "./machine.js";
import { resetNetwork } from "./network.js";
import { resources } from "./resource.js";
import { resetGenerator } from "./rng.js";
import RSA from "./rsa.js";

export { flash } from "./flash.js";
export { aborts, clock, turn, until } from "./machine.js";
export { network } from "./network.js";
export { board, config, Digest, RSA, removeGlobals, resources };

/** Resets everything to the state after power-on, before each test. Flash keeps its content; see `flash.clear()`. */
export function restart(): void {
  restartMachine();
  resetNetwork();
  resetBoard();
  resetGenerator();
  Digest.broken = RSA.broken = false;
  for (const name of Object.keys(config)) delete config[name];
}

/** `instrumentation`: in a build without it, the module exists and its functions return undefined. */

import { board } from "./board.js";

const names = ["", "Timers", "Files", "System Free Memory"];

const Instrumentation = {
  map(name: string): number | undefined {
    const index = names.indexOf(name);
    return board.freeMemory === undefined || index < 0 ? undefined : index;
  },

  get(index: number | undefined): number | undefined {
    return index === names.indexOf("System Free Memory") ? board.freeMemory : undefined;
  },
};

export default Instrumentation;

/**
 * Whether a response is the request's own. It says of the request it belongs to no more than a RequestId: one that came
 * before belongs to an earlier request, if the connection is one on which that response can still be under way.
 */

/** Responses that are remembered: a proxy that mixes them up does so with those in its buffers. */
const MAX_IDS = 16;
/** Of a longer id, both ends are kept. */
const MAX_ID_LENGTH = 64;

export class OwnResponses {
  // Texts of ids between line feeds: on a board, an array and its strings would take twice as much.
  #ids = "\n";
  #count = 0;
  /** Ids that a new connection has given again: the gateway gives them to several requests. */
  #shared = "\n";
  /** The id that was rejected last, until another response shows whose fault it was. */
  #suspect = "";

  /**
   * Takes in a response.
   * @param requestId empty if it has none
   * @param kept whether it came on a connection that an earlier request had opened
   * @returns `"own"`; `"repeated"` if it is an earlier request's; `"after repeated"` if it is the request's own and shows
   * that the one rejected before it was no habit of the gateway's
   */
  take(requestId: string, kept: boolean): "own" | "repeated" | "after repeated" {
    if (requestId === "") return "own";
    const short = requestId.length > MAX_ID_LENGTH ? requestId.slice(0, 32) + requestId.slice(-32) : requestId;
    // One that had line feeds in it would be counted as several, of which one is dropped.
    const id = short.includes("\n") ? JSON.stringify(short) : short;
    const line = "\n".concat(id, "\n");
    const suspect = this.#suspect;
    const isKnown = this.#ids.includes(line);
    if (isKnown && !this.#shared.includes(line)) {
      if (kept) {
        this.#suspect = id;
        return "repeated";
      }
      this.#shared = (countOf(this.#shared) < MAX_IDS ? this.#shared : withoutOldest(this.#shared)).concat(id, "\n");
    } else if (!isKnown) {
      // Counted, not searched for: with sixteen ids that took more than all the rest.
      if (this.#count < MAX_IDS) this.#count++;
      else this.#ids = withoutOldest(this.#ids);
      this.#ids = this.#ids.concat(id, "\n");
    }
    this.#suspect = "";
    return suspect === "" || suspect === id ? "own" : "after repeated";
  }
}

/** There is one line feed more than ids. */
function countOf(ids: string): number {
  return ids.split("\n").length - 2;
}

function withoutOldest(ids: string): string {
  return ids.slice(ids.indexOf("\n", 1));
}

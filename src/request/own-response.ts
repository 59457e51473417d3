/**
 * Detects responses that belong to an earlier request. The only hint in a response is its RequestId: if the id was seen
 * before and the connection is kept alive, the response belongs to the earlier request.
 */

/** Number of RequestIds remembered: a proxy can only repeat responses that are still in its buffers. */
const MAX_IDS = 16;
/** Longer ids are shortened to both ends. */
const MAX_ID_LENGTH = 64;

export class OwnResponses {
  // Ids separated by line feeds: on a board, an array of strings would take twice the memory.
  #ids = "\n";
  #count = 0;
  /** Ids seen again on a new connection: the gateway itself reuses them. */
  #shared = "\n";
  /** The id rejected last, until another response shows whether the gateway reuses it. */
  #suspect = "";

  /**
   * Checks a response and remembers its id.
   * @param requestId empty if it has none
   * @param kept whether it came on a keep-alive connection
   * @returns `"own"`; `"repeated"` if it belongs to an earlier request; `"after repeated"` if it is the request's own,
   * and shows that the id rejected before was really a repetition
   */
  take(requestId: string, kept: boolean): "own" | "repeated" | "after repeated" {
    if (requestId === "") return "own";
    const short = requestId.length > MAX_ID_LENGTH ? requestId.slice(0, 32) + requestId.slice(-32) : requestId;
    // An id with line feeds would count as several.
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
      // A counter, since counting sixteen ids each time would cost more than all the rest.
      if (this.#count < MAX_IDS) this.#count++;
      else this.#ids = withoutOldest(this.#ids);
      this.#ids = this.#ids.concat(id, "\n");
    }
    this.#suspect = "";
    return suspect === "" || suspect === id ? "own" : "after repeated";
  }
}

/** There is one more line feed than ids. */
function countOf(ids: string): number {
  return ids.split("\n").length - 2;
}

function withoutOldest(ids: string): string {
  return ids.slice(ids.indexOf("\n", 1));
}

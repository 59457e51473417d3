import type { ReceivedRequest } from "../gateway/received.js";

/** Longer payloads, bodies and lines are cut, in what is sent to a page. */
const MAX_TEXT_BYTES = 65_536;

/** Bytes as text if they are UTF-8, as Base64 otherwise. */
interface BytesView {
  readonly text?: string;
  readonly base64?: string;
  /** Number of bytes, of which only the first are there if `cut` is set. */
  readonly bytes: number;
  readonly cut?: true;
}

/** A request as the event `request` and a list have it: without headers and body. */
export function viewOfRequest(request: ReceivedRequest) {
  const { payload, messages, diagnosis, url, ...rest } = request;
  const { headers: _headers, body, ...plain } = rest;
  return {
    ...plain,
    ...(request.accepted || request.topic !== undefined ? {} : namesIn(body)),
    url: url.slice(0, 2048),
    ...(payload === undefined ? {} : { payload: viewOfBytes(payload) }),
    ...(messages === undefined ? {} : { messages: messages.slice(0, 100).map((line) => line.slice(0, 2000)) }),
    ...(diagnosis === undefined ? {} : { diagnosis }),
  };
}

/**
 * Whom the body names, where the gateway refused the request before it looked: an injected fault, a wrong signature.
 * Nothing of it is checked.
 */
function namesIn(body: Buffer): { readonly named?: Readonly<Record<string, string>> } {
  if (body.length === 0 || body.length > MAX_TEXT_BYTES) return {};
  try {
    const { ProductId, DeviceName, TopicName } = JSON.parse(body.toString());
    const named = { productId: ProductId, deviceName: DeviceName, topic: TopicName };
    const texts = Object.entries(named).filter(([, value]) => typeof value === "string" && value.length <= 300);
    return texts.length === 0 ? {} : { named: Object.fromEntries(texts) };
  } catch {
    return {};
  }
}

/** A request with all that was received of it. */
export function viewOfDetail(request: ReceivedRequest) {
  return {
    ...viewOfRequest(request),
    url: request.url,
    headers: request.headers,
    // Whole, as the copies for a shell and for a test need it.
    body: viewOfBytes(request.body, Number.POSITIVE_INFINITY),
  };
}

function viewOfBytes(bytes: Buffer, maxBytes = MAX_TEXT_BYTES): BytesView {
  const isCut = bytes.length > maxBytes;
  const shown = isCut ? bytes.subarray(0, maxBytes) : bytes;
  const size = isCut ? ({ bytes: bytes.length, cut: true } as const) : { bytes: bytes.length };
  try {
    // Where it is cut, the last character may be incomplete; the decoder then waits for more.
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return { text: decoder.decode(shown, { stream: isCut }), ...size };
  } catch {
    return { base64: shown.toString("base64"), ...size };
  }
}

export type RequestView = ReturnType<typeof viewOfRequest>;
export type DetailView = ReturnType<typeof viewOfDetail>;

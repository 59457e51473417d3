/** The entry `tencent-iothub-xs/host`: interfaces and helpers to implement a host for another platform. */

export {
  type ConnectionPhase,
  NetworkError,
  type NetworkErrorCode,
  type NetworkErrorOptions,
  type RequestPhase,
} from "../errors.js";
export {
  type AbortSignalLike,
  type Clock,
  type Host,
  type HttpClient,
  type HttpContext,
  type HttpCounters,
  type HttpRequest,
  type HttpResponse,
  type HttpTiming,
  type Life,
  type NativeDigest,
  type NativeRsa,
  type Random,
  type Storage,
  storageLimits,
  type Timer,
  type Vitals,
} from "../host.js";
export { provisionOptions } from "../provisioning/provision.js";

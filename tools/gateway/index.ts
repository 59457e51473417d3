/**
 * A local gateway that speaks the device protocol of Tencent Cloud IoT Hub over HTTP and HTTPS: for tests and
 * experiments, and to inspect a device's requests. It verifies with `node:crypto` and shares no code with the library,
 * so that a bug in one is not repeated in the other. Start with {@link startGateway}.
 *
 * Where the behaviour of the real service is not documented (error codes, clock tolerance, reused nonces), this gateway
 * is strict; most of it can be configured.
 */

export type { Deviation, Diagnosis } from "../diagnose/diagnose.js";
export { type SignedFieldName, type SignedFields, signedFieldNames } from "../diagnose/fields.js";
export type { UiOptions } from "../ui/options.js";
export { type Interfaces, type LocalAddress, localAddresses } from "./addresses.js";
export { type Authority, issueCertificate, localNames, makeAuthority, privateNetworks } from "./authority.js";
export {
  type CertificateKind,
  type CertificateOptions,
  type CertificateSet,
  type ClientCertificateOptions,
  certificateKinds,
  type KeyType,
  makeCertificates,
  makeClientCertificate,
} from "./certificates.js";
export type { TlsError } from "./connections.js";
export {
  type AccountState,
  type Authentication,
  type DeviceDescription,
  type DeviceRegistry,
  type DeviceState,
  type DevicesDescription,
  type ProductDescription,
  type ProductState,
  type RegisteredDevice,
  type RegistrationDescription,
  readDevicesFile,
  type SignatureAlgorithm,
  type TopicPermission,
} from "./devices.js";
export { GatewayError, type GatewayErrorCode } from "./errors.js";
export type { GatewayEvent, GatewayListener } from "./events.js";
export {
  concernsConnection,
  describeFaults,
  type Fault,
  type FaultKind,
  type FaultPhase,
  type Faults,
  faultForms,
  faultKinds,
  formatFault,
  mulberry32,
  parseFault,
  type RandomFaults,
} from "./faults.js";
export { formatEvent, formatRequest } from "./format.js";
export { rootResource, writeModdableFiles } from "./moddable-files.js";
export type { GatewayOptions, HttpsOptions } from "./options.js";
export type { ConnectionInfo, GatewayCounts, ReceivedRequest } from "./received.js";
export { MAX_RECORDING_BYTES, readRecording, recordEvents, recordLine } from "./recording.js";
export { sealRegistrationPayload } from "./registration.js";
export { type ResponseCode, type ResponseShape, responseCodes, unpublishedCodes } from "./responses.js";
export { type Gateway, startGateway } from "./server.js";
export { describeSample, GatewayState, makeSample, type SampleDevice } from "./state.js";

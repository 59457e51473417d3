/**
 * The entry `tencent-iothub-xs/signing`: signatures, request bodies and registration responses, for programs with their
 * own HTTP client.
 */

export { type Identity, publishBody } from "../message.js";
export {
  openRegistrationPayload,
  type RegisteredKey,
  type RegisteredSecret,
  type RegistrationContent,
} from "../provisioning/register.js";
export { secretMistake } from "../signing/secret.js";
export {
  type Algorithm,
  type Credential,
  createSigner,
  type KeyCredential,
  type RequestToSign,
  type SecretCredential,
  type SignedRequest,
  type Signer,
  type SignerOptions,
  type SigningParameters,
  type StringToSignParts,
  type SyncSigner,
  signRequest,
  stringToSign,
} from "../signing/signer.js";

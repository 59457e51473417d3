import { expect } from "@jest/globals";
import { IotHubError } from "../../src/index.js";

/**
 * Waits for a rejection with an error of the library; fails if the promise is fulfilled or rejects with anything else.
 */
export async function failure(promise: Promise<unknown> | undefined): Promise<IotHubError & Record<string, unknown>> {
  const error = await Promise.resolve(promise).then(
    (value) => new Error(`A rejection was expected, not ${JSON.stringify(value)}.`),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(IotHubError);
  return error;
}

/**
 * Topics and payloads of the platform's thing model, device information, device shadow and firmware version.
 *
 * Formats as in the documentation and the official SDKs. Thing model: cloud.tencent.com/document/product/1081/34916;
 * shadow: cloud.tencent.com/document/product/634/14072; firmware: tencentcloud.com/document/product/1105/41507; limits:
 * cloud.tencent.com/document/product/634/15241. All of them describe MQTT; `POST /device/publish` is not documented for
 * them.
 */

import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { jsonText } from "../json.js";
import { checkIdentity, type Identity } from "../message.js";
import { checkOptions, reportRules, topicsRules } from "../options.js";

/** Kinds of events in a thing model: information, alert, fault. */
export type EventType = "info" | "alert" | "fault";

/**
 * Type of a product's thing model; `tencent-iothub types` generates one from the console's export. Without one, every
 * identifier and value is accepted.
 */
export interface ThingModel {
  /** Value types of the properties, by identifier. */
  readonly properties: object;
  /** Events as `{ type, params }`, by identifier. */
  readonly events: object;
}

/** Unspecified thing model: accepts every identifier and value. */
export interface AnyThingModel extends ThingModel {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly events: Readonly<Record<string, { type: EventType; params: Readonly<Record<string, unknown>> }>>;
}

/** Topic and payload, for `Device.publish` and `Device.enqueue`. */
export interface Form<Payload = object> {
  readonly topic: string;
  readonly payload: Payload;
}

/** Options of a property report or an event. */
export interface ReportOptions {
  /**
   * Time of the measurement or event, in milliseconds since 1970, 0 to 2^48 - 1. Not seconds, which the C SDK's
   * examples use for events: they are dates in January 1970.
   * @default the time of receipt; in an outbox with `timeField` or `batch`, the time of the reading
   */
  readonly timeMs?: number;
}

/** Options of {@link topics}. */
export interface TopicsOptions {
  /**
   * Returns the `clientToken` of the next message, which the platform repeats in its reply over MQTT.
   * @default the time of the call of `topics` and a counter, at most 32 characters
   */
  readonly token?: () => string;
}

/** Payload of a property report of the thing model. */
export interface PropertyReport {
  readonly method: "report";
  readonly clientToken: string;
  /** Milliseconds since 1970. */
  readonly timestamp?: number;
  readonly params: object;
}

/** Payload of an event of the thing model. */
export interface EventPost {
  readonly method: "event_post";
  readonly clientToken: string;
  readonly version: "1.0";
  readonly eventId: string;
  readonly type: EventType;
  /** Milliseconds since 1970. */
  readonly timestamp?: number;
  readonly params: object;
}

/** Information about a device that the platform's apps show. */
export interface DeviceInfo {
  readonly name?: string;
  readonly imei?: string;
  readonly mac?: string;
  /** Hardware version of the module. */
  readonly module_hardinfo?: string;
  /** Software version of the module. */
  readonly module_softinfo?: string;
  /** Firmware version. */
  readonly fw_ver?: string;
  readonly lat?: string;
  readonly lon?: string;
  /** Other information to show. */
  readonly device_label?: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/** Payload of a device's information. */
export interface InfoReport {
  readonly method: "report_info";
  readonly clientToken: string;
  readonly params: DeviceInfo;
}

/** Payload of a device shadow update. */
export interface ShadowUpdate {
  readonly type: "update";
  readonly state: { readonly reported: object };
  /** 0 matches every version on the platform. */
  readonly version: 0;
  readonly clientToken: string;
}

/** Payload of a firmware version report. */
export interface VersionReport {
  readonly type: "report_version";
  readonly report: { readonly version: string };
}

/** `[eventId, type, params, options]` of each event of a model. */
export type EventArguments<Model extends ThingModel> = {
  [Id in keyof Model["events"] & string]: [
    eventId: Id,
    type: Model["events"][Id] extends { type: infer Type } ? Type : never,
    params: Model["events"][Id] extends { params: infer Params } ? Partial<Params> : never,
    options?: ReportOptions,
  ];
}[keyof Model["events"] & string];

/** Functions that return topic and payload of each of the platform's formats; see {@link topics}. */
export interface Topics<Default extends ThingModel = AnyThingModel> {
  /**
   * Reports properties of the thing model: `$thing/up/property/<ProductId>/<DeviceName>`, method `report`.
   * @param params values by identifier, of some or all properties
   * @throws {IotHubError} INVALID_PAYLOAD if `params` is not an object; INVALID_IDENTIFIER, INVALID_TIMESTAMP,
   * INVALID_OPTION
   */
  propertyReport<Model extends ThingModel = Default>(
    params: Partial<Model["properties"]>,
    options?: ReportOptions,
  ): Form<PropertyReport>;
  /**
   * Posts an event of the thing model: `$thing/up/event/<ProductId>/<DeviceName>`, method `event_post`.
   * @throws {IotHubError} INVALID_EVENT_TYPE; INVALID_PAYLOAD if `params` is not an object; INVALID_IDENTIFIER,
   * INVALID_TIMESTAMP, INVALID_OPTION
   */
  eventPost<Model extends ThingModel = Default>(...event: EventArguments<Model>): Form<EventPost>;
  /**
   * Reports information about the device that the platform's apps show: `$thing/up/property/<ProductId>/<DeviceName>`,
   * method `report_info`.
   * @throws {IotHubError} INVALID_PAYLOAD if `info` is not an object
   */
  deviceInfo(info: DeviceInfo): Form<InfoReport>;
  /**
   * Updates members of the shadow's `reported` state: `$shadow/operation/<ProductId>/<DeviceName>`. Other members are
   * not changed. The update has version 0, which matches every version: a version conflict would lose the update, and
   * would be reported only over MQTT.
   * @throws {IotHubError} SHADOW_LIMIT for more than 5 levels, or more than 20 attributes (values that are not
   * objects); PAYLOAD_TOO_LARGE if the payload has more than 16 384 bytes; INVALID_PAYLOAD if `reported` is not an
   * object that JSON can represent
   */
  shadowUpdate(reported: Readonly<Record<string, unknown>>): Form<ShadowUpdate>;
  /** Reports the firmware version, for over-the-air updates: `$ota/report/<ProductId>/<DeviceName>`. */
  otaVersion(version: string): Form<VersionReport>;
}

// Limits of the platform (cloud.tencent.com/document/product/634/15241).
const MAX_SHADOW_BYTES = 16384;
const MAX_SHADOW_LEVELS = 5;
const MAX_SHADOW_ATTRIBUTES = 20;

/**
 * Returns functions that create topic and payload of the platform's formats for a device.
 *
 * It is not documented whether `POST /device/publish` accepts topics that begin with `$`, and the platform replies to
 * them only over MQTT. Test each format with your product, and check the console, before you rely on it.
 * @param device a `Device`, or any object with `productId` and `deviceName`
 * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_OPTION
 * @example
 * const { propertyReport } = topics(device);
 * await device.publish(propertyReport({ temperature: 21.5 }, { timeMs: Date.now() }));
 */
export function topics<Default extends ThingModel = AnyThingModel>(
  device: Identity,
  options: TopicsOptions = {},
): Topics<Default> {
  checkIdentity(device);
  checkOptions("", options, topicsRules);
  const { token = runningTokens() } = options;
  const end = `/${device.productId}/${device.deviceName}`;
  const property = `$thing/up/property${end}`;
  return {
    propertyReport(params, report) {
      checkIdentifiers(members(params, "The properties"));
      return { topic: property, payload: { method: "report", clientToken: token(), ...timestamp(report), params } };
    },
    eventPost(...event) {
      const [eventId, type, params, report] = event as unknown as [string, EventType, object, ReportOptions?];
      checkIdentifiers([eventId]);
      if (type !== "info" && type !== "alert" && type !== "fault") {
        throw new IotHubError("INVALID_EVENT_TYPE", 'The type of an event must be "info", "alert" or "fault".');
      }
      checkIdentifiers(members(params, "The parameters of an event"));
      const head = { method: "event_post", clientToken: token(), version: "1.0", eventId, type } as const;
      return { topic: `$thing/up/event${end}`, payload: { ...head, ...timestamp(report), params } };
    },
    deviceInfo(params) {
      members(params, "The information about a device");
      return { topic: property, payload: { method: "report_info", clientToken: token(), params } };
    },
    shadowUpdate(reported) {
      members(reported, "The reported state");
      const payload = { type: "update", state: { reported }, version: 0, clientToken: token() } as const;
      // First, as it detects circular references.
      const json = jsonText(payload, MAX_SHADOW_BYTES);
      checkShadow(reported);
      if (json.length * 4 > MAX_SHADOW_BYTES && utf8(json).length > MAX_SHADOW_BYTES) {
        throw new IotHubError("PAYLOAD_TOO_LARGE", `The shadow update has more than ${MAX_SHADOW_BYTES} bytes.`);
      }
      return { topic: `$shadow/operation${end}`, payload };
    },
    otaVersion(version) {
      return { topic: `$ota/report${end}`, payload: { type: "report_version", report: { version } } };
    },
  };
}

/** Returns a generator of tokens. They differ from those before a restart if the clock is set. */
function runningTokens(): () => string {
  const start = Date.now().toString(36);
  let number = 0;
  return () => `${start}-${number++}`;
}

function timestamp(options: ReportOptions | undefined): { timestamp?: number } {
  if (options === undefined) return {};
  checkOptions("", options, reportRules);
  const { timeMs } = options;
  if (timeMs === undefined) return {};
  if (typeof timeMs !== "number" || !(timeMs >= 0 && timeMs < 2 ** 48)) {
    throw new IotHubError("INVALID_TIMESTAMP", "timeMs must be a number of milliseconds since 1970.");
  }
  return { timestamp: Math.round(timeMs) };
}

function members(value: unknown, what: string): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new IotHubError("INVALID_PAYLOAD", `${what} must be an object.`);
  }
  return Object.keys(value);
}

/** More permissive than the console's rule, which may change. */
function checkIdentifiers(ids: readonly unknown[]): void {
  for (const id of ids) {
    if (typeof id === "string" && id !== "" && id.length <= 64) continue;
    throw new IotHubError("INVALID_IDENTIFIER", "An identifier of a thing model must be 1 to 64 characters.");
  }
  // All at once: XS compiles a regular expression at each use.
  if (ids.length > 0 && !/^[A-Za-z0-9_-]+$/.test(ids.join(""))) {
    throw new IotHubError("INVALID_IDENTIFIER", "An identifier of a thing model must be letters, digits, _ and -.");
  }
}

/**
 * Checks the nesting of keys and the number of attributes, level by level. An array of strings or numbers is one
 * attribute.
 */
function checkShadow(reported: object): void {
  let level: object[] = [reported];
  let attributes = 0;
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_SHADOW_LEVELS) {
      throw new IotHubError("SHADOW_LIMIT", `The shadow has more than ${MAX_SHADOW_LEVELS} levels.`);
    }
    const next: object[] = [];
    for (const holder of level) {
      const isList = Array.isArray(holder);
      for (const value of Object.values(holder)) {
        const isObject = typeof value === "object" && value !== null;
        if (isObject && (Array.isArray(value) ? value.some(isHolder) : Object.keys(value).length > 0)) next.push(value);
        if (isList || (isObject && !Array.isArray(value)) || value === undefined) continue;
        if (++attributes > MAX_SHADOW_ATTRIBUTES) {
          throw new IotHubError("SHADOW_LIMIT", `The shadow has more than ${MAX_SHADOW_ATTRIBUTES} attributes.`);
        }
      }
    }
    level = next;
  }
}

function isHolder(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

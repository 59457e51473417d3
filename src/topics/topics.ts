/**
 * The platform's own forms: thing model, device information, shadow and firmware version, as topic and payload.
 *
 * The forms are those of the documentation and of the official SDKs. Thing model: cloud.tencent.com/document/product/1081/34916;
 * shadow: cloud.tencent.com/document/product/634/14072; firmware: tencentcloud.com/document/product/1105/41507; limits:
 * cloud.tencent.com/document/product/634/15241. All of them describe MQTT; for `POST /device/publish` nothing is written.
 */

import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { jsonText } from "../json.js";
import { checkIdentity, type Identity } from "../message.js";
import { checkOptions, reportRules, topicsRules } from "../options.js";

/** Kinds of events in a thing model: information, alert, fault. */
export type EventType = "info" | "alert" | "fault";

/**
 * A product's thing model as a type; `tencent-iothub types` makes one of what the console exports. Without one, every
 * identifier and every value is taken.
 */
export interface ThingModel {
  /** Values by the properties' identifiers. */
  readonly properties: object;
  /** By the events' identifiers: `{ type, params }`. */
  readonly events: object;
}

/** A thing model of which nothing is known. */
export interface AnyThingModel extends ThingModel {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly events: Readonly<Record<string, { type: EventType; params: Readonly<Record<string, unknown>> }>>;
}

/** What {@link Device.publish} and {@link Device.enqueue} take. */
export interface Form<Payload = object> {
  readonly topic: string;
  readonly payload: Payload;
}

/** Options of a property report or an event. */
export interface ReportOptions {
  /**
   * When it was measured, or happened, in milliseconds since 1970. The C SDK's examples give seconds to events: those lie
   * in January 1970.
   * @default the time at which the platform receives it; for what is enqueued, where the outbox has `timeField` or
   * `batch`, the time of the reading
   */
  readonly timeMs?: number;
}

/** Options of {@link topics}. */
export interface TopicsOptions {
  /**
   * Returns the `clientToken` of the next message, which the platform's reply, over MQTT, repeats.
   * @default the time at which `topics` was called and a running number, in at most 32 characters
   */
  readonly token?: () => string;
}

/** Payload of properties of the thing model. */
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

/** What the platform's apps show of a device. */
export interface DeviceInfo {
  readonly name?: string;
  readonly imei?: string;
  readonly mac?: string;
  /** Hardware of the module. */
  readonly module_hardinfo?: string;
  /** Software of the module. */
  readonly module_softinfo?: string;
  /** Version of the firmware. */
  readonly fw_ver?: string;
  readonly lat?: string;
  readonly lon?: string;
  /** Whatever else is to be shown. */
  readonly device_label?: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/** Payload of a device's information. */
export interface InfoReport {
  readonly method: "report_info";
  readonly clientToken: string;
  readonly params: DeviceInfo;
}

/** Payload of an update of the device shadow. */
export interface ShadowUpdate {
  readonly type: "update";
  readonly state: { readonly reported: object };
  /** 0: whatever version the platform has. */
  readonly version: 0;
  readonly clientToken: string;
}

/** Payload that reports the firmware's version. */
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

/** Functions that return topic and payload of each of the platform's forms; see {@link topics}. */
export interface Topics<Default extends ThingModel = AnyThingModel> {
  /**
   * Properties of the thing model: `$thing/up/property/<ProductId>/<DeviceName>`, method `report`.
   * @param params values by identifier, of some or all properties
   * @throws {IotHubError} INVALID_PAYLOAD if `params` is not an object; INVALID_IDENTIFIER, INVALID_TIMESTAMP, INVALID_OPTION
   */
  propertyReport<Model extends ThingModel = Default>(
    params: Partial<Model["properties"]>,
    options?: ReportOptions,
  ): Form<PropertyReport>;
  /**
   * An event of the thing model, with its identifier, its type and its parameters:
   * `$thing/up/event/<ProductId>/<DeviceName>`, method `event_post`.
   * @throws {IotHubError} INVALID_EVENT_TYPE; INVALID_PAYLOAD if its parameters are not an object; INVALID_IDENTIFIER,
   * INVALID_TIMESTAMP, INVALID_OPTION
   */
  eventPost<Model extends ThingModel = Default>(...event: EventArguments<Model>): Form<EventPost>;
  /**
   * What the platform's apps show of a device: `$thing/up/property/<ProductId>/<DeviceName>`, method `report_info`.
   * @throws {IotHubError} INVALID_PAYLOAD if it is not an object
   */
  deviceInfo(info: DeviceInfo): Form<InfoReport>;
  /**
   * Members of the shadow's `reported` state: `$shadow/operation/<ProductId>/<DeviceName>`. Those that are left out stay
   * as they are. The update has the version 0, which the platform takes whatever version it has: a conflict would be
   * reported over MQTT only, and the update be lost.
   * @throws {IotHubError} SHADOW_LIMIT if it has more than 5 levels, or more than 20 attributes, which are values that are
   * not objects; PAYLOAD_TOO_LARGE if the whole message has more than 16 384 bytes; INVALID_PAYLOAD if it is not an object
   * that JSON can express
   */
  shadowUpdate(reported: Readonly<Record<string, unknown>>): Form<ShadowUpdate>;
  /** The firmware that the device has, for updates over the air: `$ota/report/<ProductId>/<DeviceName>`. */
  otaVersion(version: string): Form<VersionReport>;
}

// Use limits of the platform (cloud.tencent.com/document/product/634/15241).
const MAX_SHADOW_BYTES = 16384;
const MAX_SHADOW_LEVELS = 5;
const MAX_SHADOW_ATTRIBUTES = 20;

/**
 * Returns functions that give the topic and the payload of each of the platform's forms for a device.
 *
 * Whether `POST /device/publish` takes topics that begin with `$` is written nowhere; the platform's replies to them come
 * over MQTT only. Try each form with your product, and look at the console, before you rely on it.
 * @param device a `Device`, or anything with its `productId` and `deviceName`
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
      // First, as it finds what contains itself.
      const json = jsonText(payload, MAX_SHADOW_BYTES);
      checkShadow(reported);
      if (json.length * 4 > MAX_SHADOW_BYTES && utf8(json).length > MAX_SHADOW_BYTES) {
        throw new IotHubError("PAYLOAD_TOO_LARGE", `A shadow may have ${MAX_SHADOW_BYTES} bytes.`);
      }
      return { topic: `$shadow/operation${end}`, payload };
    },
    otaVersion(version) {
      return { topic: `$ota/report${end}`, payload: { type: "report_version", report: { version } } };
    },
  };
}

/** Tokens that differ from those before a restart, if the clock has been set. */
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

/** Not the console's rule, which may change, but what every identifier of it fits. */
function checkIdentifiers(ids: readonly unknown[]): void {
  for (const id of ids) {
    if (typeof id === "string" && id !== "" && id.length <= 64) continue;
    throw new IotHubError("INVALID_IDENTIFIER", "An identifier of a thing model must be 1 to 64 characters.");
  }
  // All at once: a regular expression is compiled at each use.
  if (ids.length > 0 && !/^[A-Za-z0-9_-]+$/.test(ids.join(""))) {
    throw new IotHubError("INVALID_IDENTIFIER", "An identifier of a thing model must be letters, digits, _ and -.");
  }
}

/** Counts level by level: keys inside each other, and values that are not objects. A list of texts or numbers is one value. */
function checkShadow(reported: object): void {
  let level: object[] = [reported];
  let attributes = 0;
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_SHADOW_LEVELS) {
      throw new IotHubError("SHADOW_LIMIT", `A shadow may have ${MAX_SHADOW_LEVELS} levels.`);
    }
    const next: object[] = [];
    for (const holder of level) {
      const isList = Array.isArray(holder);
      for (const value of Object.values(holder)) {
        const isObject = typeof value === "object" && value !== null;
        if (isObject && (Array.isArray(value) ? value.some(isHolder) : Object.keys(value).length > 0)) next.push(value);
        if (isList || (isObject && !Array.isArray(value)) || value === undefined) continue;
        if (++attributes > MAX_SHADOW_ATTRIBUTES) {
          throw new IotHubError("SHADOW_LIMIT", `A shadow may have ${MAX_SHADOW_ATTRIBUTES} attributes.`);
        }
      }
    }
    level = next;
  }
}

function isHolder(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

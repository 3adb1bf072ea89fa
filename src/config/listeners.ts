/** `listeners`, `advertised.listeners` and the HTTP listener: parsed and checked as Kafka does, in Kafka's words where it has some. */
import { Trouble } from "../base/trouble.ts";
import type { ListenerConfig } from "./config.ts";
import { badValue, splitList } from "./values.ts";

type SecurityProtocol = ListenerConfig["securityProtocol"];
const SECURITY_PROTOCOLS: readonly SecurityProtocol[] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
/** What this version can speak. */
const SERVED_PROTOCOLS: ReadonlySet<string> = new Set(["PLAINTEXT"]);
const LISTENER = /^([^:/]+):\/\/\[?([0-9a-zA-Z\-%._:]*)\]?:(\d+)$/;
const LISTENER_FORM = "a list of NAME://HOST:PORT, such as PLAINTEXT://127.0.0.1:9092";

export interface ListenerInput {
  readonly listeners: string;
  /** null: as `listeners`. */
  readonly advertised: string | null;
  readonly protocolMap: string;
  readonly controllerNames: readonly string[];
  /** Stands for an empty host in what is advertised, as Kafka does. */
  readonly hostName: string;
  /** Where a key's value came from, for error lines. */
  sourceOf(key: string): string;
}

export interface ParsedListeners {
  readonly listeners: readonly ListenerConfig[];
  readonly advertisedListeners: readonly ListenerConfig[];
  /** Listeners of Kafka's quorum, which are not opened. */
  readonly skipped: readonly string[];
}

/** Throws Trouble "config-bad-value". */
export function parseListeners(input: ListenerInput): ParsedListeners {
  const controllers = new Set(input.controllerNames.map((name) => name.toUpperCase()));
  const protocols = parseProtocolMap(input.protocolMap, input.sourceOf("listener.security.protocol.map"));
  const all = parseList("listeners", input.listeners, controllers, protocols, input.sourceOf("listeners"));
  const listeners = all.filter((listener) => !controllers.has(listener.name));
  const skipped = all.filter((listener) => controllers.has(listener.name)).map((listener) => listener.name);
  checkListeners(input, listeners, skipped);

  const source = input.advertised === null ? input.sourceOf("listeners") : input.sourceOf("advertised.listeners");
  const advertised =
    input.advertised === null
      ? listeners
      : parseList("advertised.listeners", input.advertised, controllers, protocols, source).filter(
          (listener) => !controllers.has(listener.name),
        );
  checkAdvertised(input, listeners, advertised, source);
  const advertisedListeners = advertised.map((listener) => (listener.host === "" ? { ...listener, host: input.hostName } : listener));
  return { listeners, advertisedListeners, skipped };
}

function parseProtocolMap(text: string, source: string): ReadonlyMap<string, SecurityProtocol> {
  const map = new Map<string, SecurityProtocol>();
  for (const entry of splitList(text)) {
    const [name, protocol, rest] = entry.split(":");
    const known = SECURITY_PROTOCOLS.find((candidate) => candidate === protocol?.trim().toUpperCase());
    if (name === undefined || name === "" || known === undefined || rest !== undefined || map.has(name.toUpperCase())) {
      throw badValue(
        "listener.security.protocol.map",
        text,
        `a list of NAME:PROTOCOL, each name once, PROTOCOL one of ${SECURITY_PROTOCOLS.join(", ")}`,
        source,
      );
    }
    map.set(name.trim().toUpperCase(), known);
  }
  return map;
}

function parseList(
  key: string,
  text: string,
  controllers: ReadonlySet<string>,
  protocols: ReadonlyMap<string, SecurityProtocol>,
  source: string,
): readonly ListenerConfig[] {
  return splitList(text).map((entry) => {
    const match = LISTENER.exec(entry);
    const port = Number(match?.[3]);
    if (match === null || port > 65535) throw badValue(key, text, LISTENER_FORM, source);
    const name = (match[1] ?? "").toUpperCase();
    const securityProtocol = protocols.get(name) ?? (controllers.has(name) ? "PLAINTEXT" : undefined);
    if (securityProtocol === undefined) {
      throw badValue(key, text, `named as in listener.security.protocol.map: No security protocol defined for listener ${name}`, source);
    }
    return { name, securityProtocol, host: match[2] ?? "", port };
  });
}

function checkListeners(input: ListenerInput, listeners: readonly ListenerConfig[], skipped: readonly string[]): void {
  const source = input.sourceOf("listeners");
  if (listeners.length === 0) {
    const why = skipped.length === 0 ? "" : ` that is not in controller.listener.names (${skipped.join(", ")} belong to Kafka's quorum)`;
    throw badValue("listeners", input.listeners, `${LISTENER_FORM}, with at least one${why}`, source);
  }
  if (new Set(listeners.map((listener) => listener.name)).size !== listeners.length) {
    throw badValue("listeners", input.listeners, "a list where each listener has a different name", source);
  }
  const taken = new Set<string>();
  for (const listener of listeners) {
    const family = listener.host.includes(":") ? "6" : "4";
    const place = `${family}:${listener.port}`;
    if (listener.port !== 0 && taken.has(place))
      throw badValue("listeners", input.listeners, "a list where each listener has a different port", source);
    taken.add(place);
    if (!SERVED_PROTOCOLS.has(listener.securityProtocol)) {
      throw badValue(
        "listeners",
        input.listeners,
        `a list of PLAINTEXT listeners in this version; ${listener.name} is ${listener.securityProtocol} by listener.security.protocol.map`,
        source,
      );
    }
  }
}

function checkAdvertised(
  input: ListenerInput,
  listeners: readonly ListenerConfig[],
  advertised: readonly ListenerConfig[],
  source: string,
): void {
  const text = input.advertised ?? input.listeners;
  for (const listener of advertised) {
    if (listener.host === "0.0.0.0" || listener.host === "::") {
      throw new Trouble({
        code: "config-bad-value",
        message: `${input.advertised === null ? "listeners" : "advertised.listeners"}=${text} (${source}): advertised.listeners cannot use the nonroutable meta-address ${listener.host}. Use a routable IP address.`,
        remedy: "set advertised.listeners to the address that clients reach this broker at",
        retryable: false,
        exitCode: 2,
      });
    }
    if (!listeners.some((opened) => opened.name === listener.name)) {
      throw badValue("advertised.listeners", text, `a list of listeners that are in listeners too; ${listener.name} is not`, source);
    }
    if (input.advertised !== null && listener.port === 0)
      throw badValue("advertised.listeners", text, "a list with real ports, not 0", source);
  }
  if (advertised.length === 0) throw badValue("advertised.listeners", text, `${LISTENER_FORM}, with at least one`, source);
  if (new Set(advertised.map((listener) => listener.name)).size !== advertised.length) {
    throw badValue("advertised.listeners", text, "a list where each listener has a different name", source);
  }
}

/** "" is undefined: no HTTP listener. Throws Trouble "config-bad-value". */
export function parseHttpListener(text: string, source: string): { readonly host: string; readonly port: number } | undefined {
  if (text.trim() === "") return undefined;
  const match = /^\[?([0-9a-zA-Z\-%._:]*)\]?:(\d+)$/.exec(text.trim());
  const port = Number(match?.[2]);
  if (match === null || port > 65535) throw badValue("http.listener", text, "HOST:PORT, such as 127.0.0.1:8080, or empty for none", source);
  return { host: match[1] ?? "", port };
}

import { expect, test } from "bun:test";
import { listenerKeyOf, listenerLimitOf } from "../../../src/config/accept-limits.ts";

test.each([
  ["listener.name.external.max.connections", "max.connections", "max.connections"],
  ["listener.name.external.max.connection.creation.rate", "max.connection.creation.rate", "max.connection.creation.rate"],
  ["listener.name.external.ssl.keystore.location", "ssl.keystore.location", undefined],
  ["listener.name..max.connections", "max.connections", "max.connections"],
  ["listener.name.external.", "", undefined],
  ["listener.name.external", undefined, undefined],
  ["listener.name.max.connections", "connections", undefined],
  ["max.connections", undefined, undefined],
  ["my.listener.name.external.max.connections", undefined, undefined],
])("%s: key %p, limit %p", (name, key, limit) => {
  expect(listenerKeyOf(name)).toBe(key as string);
  expect<string | undefined>(listenerLimitOf(name)).toBe(limit);
});

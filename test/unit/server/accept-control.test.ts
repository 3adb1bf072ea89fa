/** Bounds of connections: of all, of a listener, of an address, and of how fast they come. */
import { describe, expect, test } from "bun:test";
import { canonicalAddress, parseAddressOverrides, readAcceptLimits } from "../../../src/config/accept-limits.ts";
import { AcceptControl } from "../../../src/server/accept-control.ts";
import { fakeConfig } from "../support/fake-config.ts";
import { ManualClock } from "./fakes.ts";

const HERE = "127.0.0.1:50000";

function make(settings: Readonly<Record<string, string>>, listeners: readonly string[] = ["PLAINTEXT"]) {
  const clock = new ManualClock();
  const held = new Map<string, string>();
  const control = new AcceptControl({
    clock,
    limits: readAcceptLimits(fakeConfig(settings)),
    onHold: (name, reason) => (reason === undefined ? held.delete(name) : held.set(name, reason)),
  });
  for (const name of listeners) control.addListener(name);
  const set = (changed: Readonly<Record<string, string>>): void => control.setLimits(readAcceptLimits(fakeConfig(changed)));
  return { clock, control, held, set };
}

describe("max.connections", () => {
  test("holds every listener when it is reached, and frees them when somebody leaves or it is raised", () => {
    const { control, held, set } = make({ "max.connections": "2" }, ["A", "B"]);
    control.opened("A", HERE);
    expect(held.size).toBe(0);
    control.opened("B", HERE);
    expect([...held]).toEqual([
      ["A", "2 connections are open, max.connections=2"],
      ["B", "2 connections are open, max.connections=2"],
    ]);
    control.closed("A", HERE);
    expect(held.size).toBe(0);
    control.opened("A", HERE);
    set({ "max.connections": "3" });
    expect(held.size).toBe(0);
    set({ "max.connections": "1" });
    expect([held.size, control.excess]).toEqual([2, 1]);
  });

  test("of one listener leaves the others alone", () => {
    const { control, held } = make({ "listener.name.a.max.connections": "1" }, ["A", "B"]);
    control.opened("A", HERE);
    control.opened("B", HERE);
    expect([...held]).toEqual([["A", "1 connections are open, listener.name.a.max.connections=1"]]);
  });
});

describe("max.connections.per.ip", () => {
  test("turns away what is above it, however the address is written", () => {
    const { control, set } = make({ "max.connections.per.ip": "1" });
    expect(control.opened("PLAINTEXT", "10.0.0.1:1")).toBe(true);
    expect(control.opened("PLAINTEXT", "[::ffff:10.0.0.1]:2")).toBe(false);
    expect(control.opened("PLAINTEXT", "[::1]:3")).toBe(true);
    set({ "max.connections.per.ip": "0", "max.connections.per.ip.overrides": "10.0.0.1:2,0:0::1:1" });
    expect(control.opened("PLAINTEXT", "10.0.0.1:4")).toBe(true);
    expect(control.opened("PLAINTEXT", "[::1]:5")).toBe(false);
    expect(control.opened("PLAINTEXT", "10.0.0.9:6")).toBe(false);
    control.closed("PLAINTEXT", "[::1]:3");
    expect(control.opened("PLAINTEXT", "[::1]:7")).toBe(true);
  });

  test("overrides are addresses with counts", () => {
    const parsed = parseAddressOverrides(" 127.0.0.1 : 5, ::1:6, localhost:7");
    expect("overrides" in parsed && [...parsed.overrides]).toEqual([
      ["127.0.0.1", 7],
      ["::1", 6],
    ]);
    expect(canonicalAddress("256.0.0.1")).toBeUndefined();
    expect(canonicalAddress("2001:DB8::0:1")).toBe("2001:db8::1");
    expect(parseAddressOverrides("some.host:5")).toEqual({
      error: "max.connections.per.ip.overrides contains invalid addresses : some.host",
    });
  });
});

describe("max.connection.creation.rate", () => {
  test("lets a window's worth come at once, and then one after the other", async () => {
    const { clock, control, held } = make({ "max.connection.creation.rate": "2" });
    // 10 windows of a second, and the one that has begun.
    for (let made = 0; made < 20; made++) {
      expect(held.size).toBe(0);
      control.opened("PLAINTEXT", HERE);
    }
    for (let made = 0; made < 5; made++) {
      expect(held.size).toBe(1);
      await clock.advance(499);
      expect(held.size).toBe(1);
      await clock.advance(1);
      expect(held.size).toBe(0);
      control.opened("PLAINTEXT", HERE);
    }
    await clock.advance(60_000);
    for (let made = 0; made < 20; made++) control.opened("PLAINTEXT", HERE);
    expect(held.size).toBe(1);
  });

  test("raised, it frees at once; of one listener it leaves the others alone", () => {
    const { control, held, set } = make({ "listener.name.a.max.connection.creation.rate": "1" }, ["A", "B"]);
    for (let made = 0; made < 10; made++) control.opened("A", HERE);
    for (let made = 0; made < 50; made++) control.opened("B", HERE);
    expect([...held.keys()]).toEqual(["A"]);
    set({ "listener.name.a.max.connection.creation.rate": "100" });
    expect(held.size).toBe(0);
  });
});

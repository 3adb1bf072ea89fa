/**
 * Requests are built with every field; the generated writers refuse a field that the version lacks. `fit` learns from the refusal which fields these
 * are, once per API and version, and sets them back to their defaults.
 */
import { Writer } from "../../../src/protocol/writer.ts";
import type { Step } from "./step.ts";

interface Reset {
  readonly property: string;
  readonly keys: string;
  readonly standard: unknown;
}

const known = new Map<string, Reset[]>();

type Node = Record<string, unknown>;

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array) && !Array.isArray(value);
}

function keysOf(node: Node): string {
  return Object.keys(node)
    .filter((key) => key !== "unknownTaggedFields")
    .join();
}

function apply(value: unknown, reset: Reset): void {
  if (Array.isArray(value)) for (const item of value) apply(item, reset);
  if (!isNode(value)) return;
  if (keysOf(value) === reset.keys) value[reset.property] = structuredClone(reset.standard);
  for (const child of Object.values(value)) apply(child, reset);
}

/** Sets back what the version lacks, in place. */
export function fit(step: Step, request: unknown): void {
  const name = `${step.api.key}:${step.version}`;
  const resets = known.get(name) ?? [];
  known.set(name, resets);
  for (const reset of resets) apply(request, reset);
  for (;;) {
    try {
      step.api.writeRequest(new Writer(), request, step.version);
      return;
    } catch (error) {
      const match = /(\w+)\.(\w+)/.exec(error instanceof Error ? error.message : "");
      const construct = match === null ? undefined : (step.module as Node)[`new${match[1]}`];
      if (match === null || typeof construct !== "function") throw error;
      const standard = construct() as Node;
      const reset = { property: match[2] ?? "", keys: keysOf(standard), standard: standard[match[2] ?? ""] };
      if (resets.some((other) => other.property === reset.property && other.keys === reset.keys)) throw error;
      resets.push(reset);
      apply(request, reset);
    }
  }
}

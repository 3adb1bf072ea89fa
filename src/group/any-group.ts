/** A group of any protocol that is served: told apart by `kind`. */
import type { ClassicGroup } from "./classic-group.ts";
import type { ConsumerGroup } from "./consumer-group.ts";

export type AnyGroup = ClassicGroup | ConsumerGroup;

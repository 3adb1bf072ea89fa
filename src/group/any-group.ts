/** A group of any protocol that is served: told apart by `kind`. */
import type { ClassicGroup } from "./classic/classic-group.ts";
import type { ConsumerGroup } from "./consumer/consumer-group.ts";

export type AnyGroup = ClassicGroup | ConsumerGroup;

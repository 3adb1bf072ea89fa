/** A partition by its topic's name, as requests of groups and transactions name it. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

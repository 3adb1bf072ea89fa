/** DeleteRecords: the log begins later. */
import * as deleteRecords from "../../../src/protocol/messages/delete-records.ts";
import type { Choice } from "./choice.ts";
import type { Model } from "./model.ts";
import { choosePlaces, placesByTopic } from "./offset-steps.ts";
import { newStep, type Step } from "./step.ts";

export function deleteRecordsSteps(model: Model, choice: Choice): Step[] {
  const places = choosePlaces(model, choice).map((place) => {
    const end = model.end(place.topic, place.partition);
    const offset = choice.weighted<number>([
      [6, choice.int(Math.floor(end / 2) + 1)],
      [1, end],
      [1, -1],
      [1, 0],
      [0.5, end + 1000],
      [0.4, -2],
    ]);
    return { ...place, offset };
  });
  const request = () =>
    deleteRecords.newDeleteRecordsRequest({
      timeoutMs: 30_000,
      topics: placesByTopic(places).map(([name, parts]) =>
        deleteRecords.newDeleteRecordsTopic({
          name,
          partitions: parts.map((part) =>
            deleteRecords.newDeleteRecordsPartition({ partitionIndex: part.partition, offset: BigInt(part.offset) }),
          ),
        }),
      ),
    });
  return [newStep(deleteRecords, deleteRecords.deleteRecordsApi, model.version(21, choice), request)];
}

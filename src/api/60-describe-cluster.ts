/** DescribeCluster (key 60), versions 0-2: brokers of the listener that was asked, fenced ones from v2 when wanted. There is no controller endpoint. */
import { ErrorCodes } from "../protocol/error-codes.ts";
import {
  type DescribeClusterRequest,
  type DescribeClusterResponse,
  describeClusterApi,
  newDescribeClusterBroker,
  newDescribeClusterResponse,
} from "../protocol/messages/describe-cluster.ts";
import { findEndpoint } from "./answers.ts";
import { CLUSTER_OPERATIONS } from "./authorized-operations.ts";
import type { RequestContext, SerialHandler } from "./handler.ts";
import type { ApiServices } from "./services.ts";

const BROKER_ENDPOINTS = 1;
const CONTROLLER_ENDPOINTS = 2;

export class DescribeClusterHandler implements SerialHandler<DescribeClusterRequest, DescribeClusterResponse> {
  readonly kind = "serial";
  readonly api = describeClusterApi;
  readonly minVersion = 0;
  readonly maxVersion = 2;
  readonly #services: ApiServices;

  constructor(services: ApiServices) {
    this.#services = services;
  }

  handle(request: DescribeClusterRequest, context: RequestContext): DescribeClusterResponse {
    const { image } = this.#services.metadata;
    const { endpointType } = request;
    if (endpointType === CONTROLLER_ENDPOINTS) {
      const errorMessage = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
      return newDescribeClusterResponse({ errorCode: ErrorCodes.MISMATCHED_ENDPOINT_TYPE, errorMessage });
    }
    if (endpointType !== BROKER_ENDPOINTS) {
      const errorMessage = `Unsupported endpoint type ${endpointType}`;
      return newDescribeClusterResponse({ errorCode: ErrorCodes.UNSUPPORTED_ENDPOINT_TYPE, errorMessage });
    }
    const response = newDescribeClusterResponse({ clusterId: image.clusterId, controllerId: image.controllerNodeId });
    for (const broker of image.brokers()) {
      if (broker.isFenced && !(context.apiVersion >= 2 && request.includeFencedBrokers)) continue;
      const endpoint = findEndpoint(broker, context.connection.listenerName);
      if (endpoint === undefined) continue;
      response.brokers.push(
        newDescribeClusterBroker({
          brokerId: broker.nodeId,
          host: endpoint.host,
          port: endpoint.port,
          rack: broker.rack ?? null,
          isFenced: broker.isFenced,
        }),
      );
    }
    if (request.includeClusterAuthorizedOperations) response.clusterAuthorizedOperations = CLUSTER_OPERATIONS;
    return response;
  }
}

# SPDX-License-Identifier: Apache-2.0
# Weights across regions. The protocol "https" is in no enumeration of the API, and in what people have.
aws appmesh create-virtual-node \
  --mesh-name global-mesh \
  --virtual-node-name api-service-us-east-1 \
  --spec '{
    "listeners": [{
      "portMapping": {"port": 443, "protocol": "https"}
    }],
    "serviceDiscovery": {
      "awsCloudMap": {
        "namespaceName": "us-east-1.internal",
        "serviceName": "api"
      }
    }
  }'

aws appmesh create-route \
  --mesh-name global-mesh \
  --virtual-router-name api-router \
  --route-name multi-region-route \
  --spec '{
    "httpRoute": {
      "match": {"prefix": "/"},
      "action": {
        "weightedTargets": [
          {"virtualNode": "api-service-us-east-1", "weight": 70},
          {"virtualNode": "api-service-eu-west-1", "weight": 30}
        ]
      }
    }
  }'

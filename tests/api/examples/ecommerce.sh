# SPDX-License-Identifier: Apache-2.0
# Seven services of a shop, as its operators make them by hand.
aws appmesh create-mesh --mesh-name ecommerce-prod

for service in user product cart payment inventory shipping notification; do
  aws appmesh create-virtual-node \
    --mesh-name ecommerce-prod \
    --virtual-node-name ${service}-service \
    --spec "{
      \"listeners\": [{
        \"portMapping\": {\"port\": 8080, \"protocol\": \"http\"},
        \"healthCheck\": {
          \"protocol\": \"http\",
          \"path\": \"/health\",
          \"intervalMillis\": 5000,
          \"timeoutMillis\": 2000,
          \"unhealthyThreshold\": 2,
          \"healthyThreshold\": 2
        }
      }],
      \"serviceDiscovery\": {
        \"awsCloudMap\": {
          \"namespaceName\": \"ecommerce.local\",
          \"serviceName\": \"${service}\"
        }
      },
      \"logging\": {
        \"accessLog\": {
          \"file\": {\"path\": \"/dev/stdout\"}
        }
      }
    }"
done

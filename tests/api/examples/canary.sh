# SPDX-License-Identifier: Apache-2.0
# A canary, from files as `--cli-input-json` takes them: canary.sh DIR. Nine in ten connections go to the old version.
cd "$1"
aws appmesh create-mesh --cli-input-json file://mesh-drop-all.json
aws appmesh create-virtual-router --cli-input-json file://router-checkout.json
for node in checkout-v1 checkout-v2 inventory payment shop; do
  aws appmesh create-virtual-node --cli-input-json file://node-$node.json
done
aws appmesh create-route --cli-input-json file://route-checkout-canary.json
for service in checkout inventory payment; do
  aws appmesh create-virtual-service --cli-input-json file://service-$service.json
done

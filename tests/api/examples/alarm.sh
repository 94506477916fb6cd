# SPDX-License-Identifier: Apache-2.0
# An alarm on a metric of the mesh: CloudWatch is another service.
aws cloudwatch put-metric-alarm \
  --alarm-name high-error-rate \
  --metric-name HTTPCode_Target_5XX_Count \
  --namespace AWS/AppMesh \
  --statistic Sum \
  --period 300 \
  --evaluation-periods 2 \
  --threshold 100 \
  --comparison-operator GreaterThanThreshold \
  --dimensions Name=VirtualNode,Value=checkout-service

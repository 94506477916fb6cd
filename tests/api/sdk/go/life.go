// SPDX-License-Identifier: Apache-2.0
// The life of a mesh by the AWS SDK for Go, version 2; prints what it saw, as test_sdk.py expects it of every language.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/appmesh"
	"github.com/aws/aws-sdk-go-v2/service/appmesh/types"
)

var meshName, routerName, routeName, serviceName = aws.String("m"), aws.String("r"), aws.String("to b"), aws.String("s.local")

// What an operation answers; an error ends the program.
func must[T any](output T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return output
}

func routerSpec(port int32) *types.VirtualRouterSpec {
	return &types.VirtualRouterSpec{Listeners: []types.VirtualRouterListener{
		{PortMapping: &types.PortMapping{Port: aws.Int32(port), Protocol: types.PortProtocolHttp}}}}
}

func nodeSpec(i int) *types.VirtualNodeSpec {
	return &types.VirtualNodeSpec{
		Listeners:        []types.Listener{{PortMapping: &types.PortMapping{Port: aws.Int32(int32(8080 + i)), Protocol: types.PortProtocolHttp}}},
		ServiceDiscovery: &types.ServiceDiscoveryMemberDns{Value: types.DnsServiceDiscovery{Hostname: aws.String(fmt.Sprintf("n%d.local", i))}},
	}
}

func routeSpec(prefix string, weights ...int32) *types.RouteSpec {
	action := &types.HttpRouteAction{}
	for i, weight := range weights {
		action.WeightedTargets = append(action.WeightedTargets, types.WeightedTarget{VirtualNode: aws.String(fmt.Sprintf("n%d", i)), Weight: weight})
	}
	return &types.RouteSpec{Priority: aws.Int32(7), HttpRoute: &types.HttpRoute{Match: &types.HttpRouteMatch{Prefix: aws.String(prefix)}, Action: action,
		Timeout: &types.HttpTimeout{PerRequest: &types.Duration{Unit: types.DurationUnitMs, Value: aws.Int64(1500)}}}}
}

func words(tags []types.TagRef) []string {
	list := []string{}
	for _, tag := range tags {
		list = append(list, *tag.Key+"="+*tag.Value)
	}
	return list
}

// The type of an error, and its status.
func refused(err error) string {
	var badRequest *types.BadRequestException
	var conflict *types.ConflictException
	var notFound *types.NotFoundException
	var inUse *types.ResourceInUseException
	var response *awshttp.ResponseError
	name := fmt.Sprint(err)
	switch {
	case errors.As(err, &badRequest):
		name = "BadRequestException"
	case errors.As(err, &conflict):
		name = "ConflictException"
	case errors.As(err, &notFound):
		name = "NotFoundException"
	case errors.As(err, &inUse):
		name = "ResourceInUseException"
	}
	if !errors.As(err, &response) {
		return name
	}
	return fmt.Sprintf("%s %d", name, response.HTTPStatusCode())
}

func main() {
	ctx, saw := context.Background(), map[string]any{}
	client := appmesh.New(appmesh.Options{
		BaseEndpoint: aws.String(os.Getenv("WEFT_ENDPOINT")), Region: os.Getenv("AWS_REGION"), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}, nil
		}),
	})

	mesh := must(client.CreateMesh(ctx, &appmesh.CreateMeshInput{MeshName: meshName, Tags: []types.TagRef{{Key: aws.String("team"), Value: aws.String("a")}},
		Spec: &types.MeshSpec{EgressFilter: &types.EgressFilter{Type: types.EgressFilterTypeDropAll}}})).Mesh
	saw["mesh"] = []any{mesh.MeshName, mesh.Spec.EgressFilter.Type, mesh.Status.Status, mesh.Metadata.Version, mesh.Metadata.Arn}
	saw["createdWithinAMinute"] = time.Since(*mesh.Metadata.CreatedAt).Abs() < time.Minute
	for i := range 5 {
		must(client.CreateVirtualNode(ctx, &appmesh.CreateVirtualNodeInput{MeshName: meshName, VirtualNodeName: aws.String(fmt.Sprintf("n%d", i)),
			Spec: nodeSpec(i)}))
	}
	must(client.CreateVirtualRouter(ctx, &appmesh.CreateVirtualRouterInput{MeshName: meshName, VirtualRouterName: routerName, Spec: routerSpec(80)}))
	must(client.CreateRoute(ctx, &appmesh.CreateRouteInput{MeshName: meshName, VirtualRouterName: routerName, RouteName: routeName,
		Spec: routeSpec("/", 90, 10)}))
	must(client.CreateVirtualService(ctx, &appmesh.CreateVirtualServiceInput{MeshName: meshName, VirtualServiceName: serviceName,
		Spec: &types.VirtualServiceSpec{Provider: &types.VirtualServiceProviderMemberVirtualRouter{
			Value: types.VirtualRouterServiceProvider{VirtualRouterName: routerName}}}}))

	node := must(client.DescribeVirtualNode(ctx, &appmesh.DescribeVirtualNodeInput{MeshName: meshName, VirtualNodeName: aws.String("n4")})).VirtualNode
	saw["node"] = []any{node.VirtualNodeName, node.Spec.Listeners[0].PortMapping.Port,
		node.Spec.ServiceDiscovery.(*types.ServiceDiscoveryMemberDns).Value.Hostname}
	router := must(client.DescribeVirtualRouter(ctx, &appmesh.DescribeVirtualRouterInput{MeshName: meshName, VirtualRouterName: routerName})).VirtualRouter
	saw["router"] = []any{router.VirtualRouterName, router.Spec.Listeners[0].PortMapping.Protocol}
	service := must(client.DescribeVirtualService(ctx, &appmesh.DescribeVirtualServiceInput{MeshName: meshName,
		VirtualServiceName: serviceName})).VirtualService
	saw["service"] = []any{service.VirtualServiceName,
		service.Spec.Provider.(*types.VirtualServiceProviderMemberVirtualRouter).Value.VirtualRouterName}

	pages := [][]string{}
	nodes := appmesh.NewListVirtualNodesPaginator(client, &appmesh.ListVirtualNodesInput{MeshName: meshName, Limit: aws.Int32(2)})
	for nodes.HasMorePages() {
		page := []string{}
		for _, one := range must(nodes.NextPage(ctx)).VirtualNodes {
			page = append(page, *one.VirtualNodeName)
		}
		pages = append(pages, page)
	}
	saw["pages"] = pages

	must(client.UpdateRoute(ctx, &appmesh.UpdateRouteInput{MeshName: meshName, VirtualRouterName: routerName, RouteName: routeName,
		Spec: routeSpec("/x", 50, 30, 20)}))
	route := must(client.DescribeRoute(ctx, &appmesh.DescribeRouteInput{MeshName: meshName, VirtualRouterName: routerName, RouteName: routeName})).Route
	weights := []int32{}
	for _, target := range route.Spec.HttpRoute.Action.WeightedTargets {
		weights = append(weights, target.Weight)
	}
	saw["route"] = []any{route.RouteName, route.Metadata.Version, route.Spec.Priority, route.Spec.HttpRoute.Match.Prefix, weights,
		route.Spec.HttpRoute.Timeout.PerRequest.Unit, route.Spec.HttpRoute.Timeout.PerRequest.Value}

	arn := mesh.Metadata.Arn
	must(client.TagResource(ctx, &appmesh.TagResourceInput{ResourceArn: arn, Tags: []types.TagRef{
		{Key: aws.String("stage"), Value: aws.String("test")}, {Key: aws.String("team"), Value: aws.String("b")}}}))
	tags := []string{}
	listed := appmesh.NewListTagsForResourcePaginator(client, &appmesh.ListTagsForResourceInput{ResourceArn: arn, Limit: aws.Int32(1)})
	for listed.HasMorePages() {
		tags = append(tags, words(must(listed.NextPage(ctx)).Tags)...)
	}
	saw["tags"] = tags
	must(client.UntagResource(ctx, &appmesh.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"team"}}))
	saw["tagsLeft"] = words(must(client.ListTagsForResource(ctx, &appmesh.ListTagsForResourceInput{ResourceArn: arn})).Tags)

	_, there := client.CreateMesh(ctx, &appmesh.CreateMeshInput{MeshName: meshName})
	_, missing := client.DescribeVirtualNode(ctx, &appmesh.DescribeVirtualNodeInput{MeshName: meshName, VirtualNodeName: aws.String("none")})
	_, used := client.DeleteVirtualRouter(ctx, &appmesh.DeleteVirtualRouterInput{MeshName: meshName, VirtualRouterName: routerName})
	_, bad := client.UpdateVirtualRouter(ctx, &appmesh.UpdateVirtualRouterInput{MeshName: meshName, VirtualRouterName: routerName, Spec: routerSpec(70000)})
	saw["refused"] = []string{refused(there), refused(missing), refused(used), refused(bad)}

	deleted := []any{
		must(client.DeleteVirtualService(ctx, &appmesh.DeleteVirtualServiceInput{MeshName: meshName, VirtualServiceName: serviceName})).VirtualService.Status.Status,
		must(client.DeleteRoute(ctx, &appmesh.DeleteRouteInput{MeshName: meshName, VirtualRouterName: routerName, RouteName: routeName})).Route.Status.Status,
		must(client.DeleteVirtualRouter(ctx, &appmesh.DeleteVirtualRouterInput{MeshName: meshName, VirtualRouterName: routerName})).VirtualRouter.Status.Status,
	}
	for i := range 5 {
		deleted = append(deleted, must(client.DeleteVirtualNode(ctx, &appmesh.DeleteVirtualNodeInput{MeshName: meshName,
			VirtualNodeName: aws.String(fmt.Sprintf("n%d", i))})).VirtualNode.Status.Status)
	}
	saw["deleted"] = append(deleted, must(client.DeleteMesh(ctx, &appmesh.DeleteMeshInput{MeshName: meshName})).Mesh.Status.Status)
	saw["left"] = len(must(client.ListMeshes(ctx, &appmesh.ListMeshesInput{})).Meshes)
	fmt.Println(string(must(json.Marshal(saw))))
}

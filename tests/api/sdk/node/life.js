// SPDX-License-Identifier: Apache-2.0
// The life of a mesh by @aws-sdk/client-app-mesh; prints what it saw, as test_sdk.py expects it of every language.
"use strict";
const appmesh = require("@aws-sdk/client-app-mesh");

const client = new appmesh.AppMeshClient({ endpoint: process.env.WEFT_ENDPOINT, maxAttempts: 1 });
const send = (operation, input) => client.send(new appmesh[`${operation}Command`](input));
const listener = (port) => ({ portMapping: { port, protocol: "http" } });
const routeSpec = (prefix, ...weights) => ({
	priority: 7,
	httpRoute: {
		match: { prefix },
		action: { weightedTargets: weights.map((weight, i) => ({ virtualNode: `n${i}`, weight })) },
		timeout: { perRequest: { unit: "ms", value: 1500 } },
	},
});
const route = { meshName: "m", virtualRouterName: "r", routeName: "to b" };

async function refused(operation, input) {
	try {
		await send(operation, input);
	} catch (error) {
		const type = ["BadRequestException", "ConflictException", "NotFoundException", "ResourceInUseException"].find(
			(name) => error instanceof appmesh[name]);
		return `${type || error} ${error.$metadata.httpStatusCode}`;
	}
	return "not refused";
}

async function main() {
	const saw = {};
	const { mesh } = await send("CreateMesh", { meshName: "m", spec: { egressFilter: { type: "DROP_ALL" } }, tags: [{ key: "team", value: "a" }] });
	saw.mesh = [mesh.meshName, mesh.spec.egressFilter.type, mesh.status.status, mesh.metadata.version, mesh.metadata.arn];
	saw.createdWithinAMinute = Math.abs(Date.now() - mesh.metadata.createdAt.getTime()) < 60000;
	for (let i = 0; i < 5; i++)
		await send("CreateVirtualNode", { meshName: "m", virtualNodeName: `n${i}`, spec: {
			listeners: [listener(8080 + i)], serviceDiscovery: { dns: { hostname: `n${i}.local` } } } });
	await send("CreateVirtualRouter", { meshName: "m", virtualRouterName: "r", spec: { listeners: [listener(80)] } });
	await send("CreateRoute", { ...route, spec: routeSpec("/", 90, 10) });
	await send("CreateVirtualService", { meshName: "m", virtualServiceName: "s.local", spec: {
		provider: { virtualRouter: { virtualRouterName: "r" } } } });

	const { virtualNode: node } = await send("DescribeVirtualNode", { meshName: "m", virtualNodeName: "n4" });
	saw.node = [node.virtualNodeName, node.spec.listeners[0].portMapping.port, node.spec.serviceDiscovery.dns.hostname];
	const { virtualRouter: router } = await send("DescribeVirtualRouter", { meshName: "m", virtualRouterName: "r" });
	saw.router = [router.virtualRouterName, router.spec.listeners[0].portMapping.protocol];
	const { virtualService: service } = await send("DescribeVirtualService", { meshName: "m", virtualServiceName: "s.local" });
	saw.service = [service.virtualServiceName, service.spec.provider.virtualRouter.virtualRouterName];

	saw.pages = [];
	for await (const page of appmesh.paginateListVirtualNodes({ client, pageSize: 2 }, { meshName: "m" }))
		saw.pages.push(page.virtualNodes.map((one) => one.virtualNodeName));

	await send("UpdateRoute", { ...route, spec: routeSpec("/x", 50, 30, 20) });
	const { route: updated } = await send("DescribeRoute", route);
	const http = updated.spec.httpRoute;
	saw.route = [updated.routeName, updated.metadata.version, updated.spec.priority, http.match.prefix,
		http.action.weightedTargets.map((target) => target.weight), http.timeout.perRequest.unit, http.timeout.perRequest.value];

	const resourceArn = mesh.metadata.arn;
	await send("TagResource", { resourceArn, tags: [{ key: "stage", value: "test" }, { key: "team", value: "b" }] });
	saw.tags = [];
	for await (const page of appmesh.paginateListTagsForResource({ client, pageSize: 1 }, { resourceArn }))
		saw.tags.push(...page.tags.map((tag) => `${tag.key}=${tag.value}`));
	await send("UntagResource", { resourceArn, tagKeys: ["team"] });
	saw.tagsLeft = (await send("ListTagsForResource", { resourceArn })).tags.map((tag) => `${tag.key}=${tag.value}`);

	saw.refused = [
		await refused("CreateMesh", { meshName: "m" }),
		await refused("DescribeVirtualNode", { meshName: "m", virtualNodeName: "none" }),
		await refused("DeleteVirtualRouter", { meshName: "m", virtualRouterName: "r" }),
		await refused("UpdateVirtualRouter", { meshName: "m", virtualRouterName: "r", spec: { listeners: [listener(70000)] } }),
	];

	const deleted = [(await send("DeleteVirtualService", { meshName: "m", virtualServiceName: "s.local" })).virtualService,
		(await send("DeleteRoute", route)).route, (await send("DeleteVirtualRouter", { meshName: "m", virtualRouterName: "r" })).virtualRouter];
	for (let i = 0; i < 5; i++)
		deleted.push((await send("DeleteVirtualNode", { meshName: "m", virtualNodeName: `n${i}` })).virtualNode);
	deleted.push((await send("DeleteMesh", { meshName: "m" })).mesh);
	saw.deleted = deleted.map((one) => one.status.status);
	saw.left = (await send("ListMeshes", {})).meshes.length;
	console.log(JSON.stringify(saw));
}

main().catch((error) => {
	console.error(error);
	process.exitCode = 1;
});

# What the objects of a namespace have to have together.
package runplane

import rego.v1

of_kind(kind) := [thing | some thing in input.objects; thing.kind == kind]

pod_labels(thing) := thing.spec.template.metadata.labels

# A selector that has no labels of its own would be everybody's.
selects(selector, labels) if {
	count(selector.matchLabels) > 0
	every name, value in selector.matchLabels {
		labels[name] == value
	}
}

deny contains sprintf("%s: no NetworkPolicy is for it", [title(thing)]) if {
	some thing in workloads
	not has_policy(thing)
}

has_policy(thing) if {
	some policy in of_kind("NetworkPolicy")
	policy.metadata.namespace == thing.metadata.namespace
	{"Ingress", "Egress"} == {type | some type in policy.spec.policyTypes}
	selects(policy.spec.podSelector, pod_labels(thing))
}

# Only the edge is open to all.
deny contains sprintf("%s: names no callers", [title(policy)]) if {
	some policy in of_kind("NetworkPolicy")
	policy.metadata.name != "gateway"
	some rule in policy.spec.ingress
	not rule.from
}

deny contains sprintf("%s: opens all ports", [title(policy)]) if {
	some policy in of_kind("NetworkPolicy")
	some rule in policy.spec.ingress
	not rule.ports
}

deny contains sprintf("%s: names %s, which is nobody here", [title(policy), name]) if {
	some policy in of_kind("NetworkPolicy")
	some name in named(policy)
	not name in {pod_labels(thing)["app.kubernetes.io/name"] | some thing in workloads}
}

named(policy) := {name |
	walk(policy.spec, [_, expression])
	expression.key == "app.kubernetes.io/name"
	some name in expression.values
}

deployments := [thing | some thing in workloads; thing.kind == "Deployment"]

deny contains sprintf("%s: no PodDisruptionBudget is for it", [title(thing)]) if {
	some thing in services
	not has_budget(thing)
}

# The services of the suite; a collector or a store for one's own trials is none.
services := [thing |
	some thing in deployments
	startswith(thing.spec.template.spec.containers[0].image, "runplane/")
]

has_budget(thing) if {
	some budget in of_kind("PodDisruptionBudget")
	selects(budget.spec.selector, pod_labels(thing))
}

deny contains sprintf("%s: its replicas are not spread over %s", [title(thing), key]) if {
	some thing in services
	some key in {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
	not is_spread(thing, key)
}

is_spread(thing, key) if {
	some constraint in thing.spec.template.spec.topologySpreadConstraints
	constraint.topologyKey == key
	selects(constraint.labelSelector, pod_labels(thing))
}

deny contains sprintf("%s: a rollout may leave fewer than there are", [title(thing)]) if {
	some thing in services
	not thing.spec.strategy.rollingUpdate.maxUnavailable == 0
}

deny contains sprintf("%s: a new pod counts before callers can have heard of it", [title(thing)]) if {
	some thing in services
	object.get(thing.spec, "minReadySeconds", 0) < 10
}

# Kubernetes' own deadline is ten minutes.
deny contains sprintf("%s: its rollout counts as failed before its start may be over", [title(thing)]) if {
	some thing in services
	probe := thing.spec.template.spec.containers[0].startupProbe
	probe.periodSeconds * probe.failureThreshold >= object.get(thing.spec, "progressDeadlineSeconds", 600)
}

deny contains sprintf("%s: all files of its volumes are looked at when a pod starts", [title(thing)]) if {
	some thing in services
	some volume in thing.spec.template.spec.volumes
	volume.persistentVolumeClaim
	not thing.spec.template.spec.securityContext.fsGroupChangePolicy == "OnRootMismatch"
}

deny contains sprintf("%s: nothing, or more than one thing, says how many there are", [title(thing)]) if {
	some thing in services
	scalers := [scaler |
		some scaler in input.objects
		scaler.kind in {"HorizontalPodAutoscaler", "ScaledObject"}
		scaler.spec.scaleTargetRef.name == thing.metadata.name
	]
	fixed := [thing.spec.replicas | thing.spec.replicas]
	count(scalers) + count(fixed) != 1
}

deny contains sprintf("Service %s: selects no pods", [service.metadata.name]) if {
	some service in of_kind("Service")
	not has_pods(service)
}

has_pods(service) if {
	some thing in workloads
	selects({"matchLabels": service.spec.selector}, pod_labels(thing))
}

# What each service opens. What is kept in a process is another replica's loss.
opens := {
	"inference": {"runplane_event_store", "runplane_hot_store"},
	"orchestrator": {"runplane_event_store", "runplane_hot_store"},
	"tool-registry": {"runplane_event_store"},
	"workflow": {"runplane_event_store", "runplane_hot_store", "runplane_event_bus"},
}

deny contains sprintf("%s: no Secret says where its %s is", [title(thing), file]) if {
	some thing in services
	some file in opens[thing.metadata.name]
	not file in {item.path |
		some volume in thing.spec.template.spec.volumes
		some source in volume.projected.sources
		some item in source.secret.items
	}
}

deny contains sprintf("%s: is in no namespace", [title(thing)]) if {
	some thing in input.objects
	thing.kind != "Namespace"
	not thing.metadata.namespace
}

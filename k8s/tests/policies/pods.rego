# What every pod has to have.
package runplane

import rego.v1

workloads := [thing | some thing in input.objects; thing.spec.template.spec.containers]

containers contains [thing, container] if {
	some thing in workloads
	pod := thing.spec.template.spec
	some container in array.concat(pod.containers, object.get(pod, "initContainers", []))
}

title(thing) := sprintf("%s %s", [thing.kind, thing.metadata.name])

serves(thing) if thing.kind in {"Deployment", "StatefulSet"}

deny contains sprintf("%s: may run as root", [title(thing)]) if {
	some thing in workloads
	context := object.get(thing.spec.template.spec, "securityContext", {})
	not is_user(context)
}

is_user(context) if {
	context.runAsNonRoot == true
	context.runAsUser > 0
}

deny contains sprintf("%s: has no seccomp profile", [title(thing)]) if {
	some thing in workloads
	not thing.spec.template.spec.securityContext.seccompProfile.type == "RuntimeDefault"
}

deny contains sprintf("%s: is given a service account's token", [title(thing)]) if {
	some thing in workloads
	not thing.spec.template.spec.automountServiceAccountToken == false
}

deny contains sprintf("%s: is given variables of Services, which look like settings", [title(thing)]) if {
	some thing in workloads
	not thing.spec.template.spec.enableServiceLinks == false
}

deny contains sprintf("%s: shares the host's %s", [title(thing), field]) if {
	some thing in workloads
	some field in {"hostNetwork", "hostPID", "hostIPC"}
	thing.spec.template.spec[field]
}

deny contains sprintf("%s: mounts the host's folders", [title(thing)]) if {
	some thing in workloads
	some volume in thing.spec.template.spec.volumes
	volume.hostPath
}

deny contains sprintf("%s: %s may write to its root", [title(thing), container.name]) if {
	some [thing, container] in containers
	not container.securityContext.readOnlyRootFilesystem == true
}

deny contains sprintf("%s: %s may gain privileges", [title(thing), container.name]) if {
	some [thing, container] in containers
	not container.securityContext.allowPrivilegeEscalation == false
}

deny contains sprintf("%s: %s keeps capabilities", [title(thing), container.name]) if {
	some [thing, container] in containers
	not drops_all(container)
}

drops_all(container) if {
	container.securityContext.capabilities.drop == ["ALL"]
	not container.securityContext.capabilities.add
}

deny contains sprintf("%s: %s requests no %s", [title(thing), container.name, what]) if {
	some [thing, container] in containers
	some what in {"cpu", "memory"}
	not container.resources.requests[what]
}

deny contains sprintf("%s: %s has no limit of memory", [title(thing), container.name]) if {
	some [thing, container] in containers
	not container.resources.limits.memory
}

deny contains sprintf("%s: %s has a limit of cpu, which throttles it", [title(thing), container.name]) if {
	some [thing, container] in containers
	container.resources.limits.cpu
}

deny contains sprintf("%s: %s has no %s", [title(thing), container.name, probe]) if {
	some [thing, container] in containers
	serves(thing)
	some probe in {"readinessProbe", "livenessProbe"}
	not container[probe]
}

deny contains sprintf("%s: image %s has no fixed version", [title(thing), container.image]) if {
	some [thing, container] in containers
	not is_fixed(container.image)
}

is_fixed(image) if {
	regex.match(`^[a-z0-9./-]+(:[0-9]+/[a-z0-9./-]+)?(:v?[0-9][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$`, image)
}

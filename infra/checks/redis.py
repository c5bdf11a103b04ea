"""Redis: nothing that passes through it is kept, logged or readable by anyone but a relay."""

import re
from collections.abc import Iterator
from typing import Final

from infra.checks.template import Finding, Resource, Template, as_list

_NODE_TYPE: Final = re.compile(r"cache\.[a-z][a-z0-9]*[0-9][a-z0-9]*\.(micro|small|medium|large|xlarge|\d{1,2}xlarge)")
_SNAPSHOTS: Final = (
    "DailySnapshotTime",
    "FinalSnapshotName",
    "SnapshotArnsToRestore",
    "SnapshotName",
    "SnapshotWindow",
)
_WHOLE_CATEGORIES: Final = re.compile(r"\+@|\ballcommands\b|\ballkeys\b|\ballchannels\b|\bnopass\b|(^| )[~&]\*( |$)")
_NEVER: Final = frozenset(
    {
        *("monitor", "slowlog", "commandlog", "config", "debug", "acl", "psync", "sync", "replicaof", "save", "bgsave"),
        *("keys", "scan", "dump", "migrate", "restore", "subscribe", "psubscribe", "publish", "xadd", "rpush", "lpush"),
        *("append", "setrange", "copy", "object", "memory", "latency", "client|list", "client|kill", "shutdown"),
    }
)
"""Commands that hear, keep or log what others said, or reach beyond a learner's own keys."""

_HEARS: Final = frozenset({"relay"})


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with Redis."""
    caches = list(template.of_type("ElastiCache::ServerlessCache", "ElastiCache::ReplicationGroup"))
    if len(caches) != 1:
        yield Finding("RedisCache", "there must be one")
    for cache in caches:
        yield from _cache(template, cache)
    for other in template.of_type("ElastiCache::CacheCluster", "MemoryDB::Cluster"):
        yield Finding(other.name, "is a second Redis")
    for user in template.of_type("ElastiCache::User"):
        yield from _user(user)


def _cache(template: Template, cache: Resource) -> Iterator[Finding]:
    if cache.text("Engine") != "valkey":
        yield Finding(cache.name, f"Engine {cache.text('Engine')!r}: must be valkey")
    if cache.properties.get("SnapshotRetentionLimit") != 0:
        yield Finding(cache.name, "snapshots must be off: SnapshotRetentionLimit 0")
    for name in (*_SNAPSHOTS, "LogDeliveryConfigurations"):
        if name in cache.properties:
            yield Finding(cache.name, f"{name} keeps or logs what passes through")
    if cache.type.endswith("ReplicationGroup"):
        yield from _nodes(template, cache)
    elif not cache.properties.get("UserGroupId"):
        yield Finding(cache.name, "has no users: anybody in the network may do anything")


def _nodes(template: Template, cache: Resource) -> Iterator[Finding]:
    if not _NODE_TYPE.fullmatch(cache.text("CacheNodeType")):
        yield Finding(cache.name, f"{cache.text('CacheNodeType')!r} is no type of node")
    for name in ("TransitEncryptionEnabled", "AtRestEncryptionEnabled", "AutomaticFailoverEnabled"):
        if cache.properties.get(name) is not True:
            yield Finding(cache.name, f"{name} must be true")
    if cache.text("TransitEncryptionMode") not in ("", "required"):
        yield Finding(cache.name, "TLS must be required")
    if "AuthToken" in cache.properties:
        yield Finding(cache.name, "one AuthToken for all knows no rights: use users")
    if not cache.properties.get("UserGroupIds"):
        yield Finding(cache.name, "has no users: anybody in the network may do anything")
    parameters = template.named(cache.properties.get("CacheParameterGroupName"))
    settings = parameters.properties.get("Properties", {}) if parameters else {}
    if str(settings.get("slowlog-log-slower-than")) != "-1":
        yield Finding(cache.name, "the slow log must be off: it keeps commands, and these carry speech")
    if str(settings.get("cluster-enabled")) != "yes":
        yield Finding(cache.name, "cluster mode must be on, as MAYA_REDIS_CLUSTER says")
    if cache.text("EngineVersion") not in ("7.2", "8.0"):
        yield Finding(cache.name, "Valkey 8.1 brings a log of large commands: turn it off before taking it")


def _user(user: Resource) -> Iterator[Finding]:
    rules = user.text("AccessString")
    if not rules.startswith("on "):
        yield Finding(user.name, "is off")
    found = _WHOLE_CATEGORIES.search(rules)
    if found:
        yield Finding(user.name, f"{found[0].strip()!r} allows more than is named")
    allowed = {word[1:] for word in rules.split() if word.startswith("+")}
    for command in sorted(allowed & _NEVER | {word for word in allowed if word.partition("|")[0] in _NEVER}):
        yield Finding(user.name, f"may {command.upper()}")
    if "ssubscribe" in allowed and user.text("UserName") not in _HEARS:
        yield Finding(user.name, "may hear what learners say, which is for relays")
    mode = user.properties.get("AuthenticationMode") or {}
    if mode.get("Type") not in ("password", "iam"):
        yield Finding(user.name, "gets in without a password")
    for password in as_list(mode.get("Passwords")) + as_list(user.properties.get("Passwords")):
        if "{{resolve:secretsmanager:" not in str(password):
            yield Finding(user.name, "its password is written in the template")

"""Ways to spoil a compiled template: each takes its resources and changes them."""

from collections.abc import Callable
from typing import Any

type Resources = dict[str, Any]
type Spoil = Callable[[Resources], None]


def _properties(resources: Resources, name: str) -> dict[str, Any]:
    properties: dict[str, Any] = resources[name]["Properties"]
    return properties


def put(name: str, *path: str | int, value: Any) -> Spoil:
    """Set a property."""

    def spoil(resources: Resources) -> None:
        found: Any = _properties(resources, name)
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return spoil


def drop(name: str, *path: str | int) -> Spoil:
    """Remove a property."""

    def spoil(resources: Resources) -> None:
        found: Any = _properties(resources, name)
        for step in path[:-1]:
            found = found[step]
        del found[path[-1]]

    return spoil


def allow(role: str, action: Any, resource: Any) -> Spoil:
    """Let a role do something more."""

    def spoil(resources: Resources) -> None:
        statements = _properties(resources, role)["Policies"][0]["PolicyDocument"]["Statement"]
        statements.append({"Effect": "Allow", "Action": action, "Resource": resource})

    return spoil


def restate(role: str, sid: str, **changes: Any) -> Spoil:
    """Change a statement of a role."""

    def spoil(resources: Resources) -> None:
        for policy in _properties(resources, role)["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement.get("Sid") == sid:
                    statement.update(changes)
                    return
        raise LookupError(sid)

    return spoil


def forbid(role: str, sid: str) -> Spoil:
    """Remove a statement of a role."""

    def spoil(resources: Resources) -> None:
        for policy in _properties(resources, role)["Policies"]:
            statements = policy["PolicyDocument"]["Statement"]
            statements[:] = [statement for statement in statements if statement.get("Sid") != sid]

    return spoil


def remove(name: str) -> Spoil:
    """Remove a resource."""

    def spoil(resources: Resources) -> None:
        del resources[name]

    return spoil


def add(name: str, type_: str, **properties: Any) -> Spoil:
    """Add a resource."""

    def spoil(resources: Resources) -> None:
        resources[name] = {"Type": type_, "Properties": properties}

    return spoil


def depend(name: str, other: str) -> Spoil:
    """Have a resource wait for another."""

    def spoil(resources: Resources) -> None:
        resources[name]["DependsOn"] = [other]

    return spoil


def reword(name: str, old: str, new: str) -> Spoil:
    """Change the text of a dashboard."""

    def spoil(resources: Resources) -> None:
        body = _properties(resources, name)["DashboardBody"]
        assert old in body["Fn::Sub"]
        body["Fn::Sub"] = body["Fn::Sub"].replace(old, new, 1)

    return spoil


_MODEL_OF_AN_ACCOUNT = (
    "arn:aws:bedrock:us-east-1:123456789012:foundation-model/amazon.nova-2-sonic-v1:0"  # foundation models have none
)

# What was injected when the checks of others were compared; who notices is said in the groups' names.
SEEN_BY_THE_LINTER: dict[str, tuple[str, Spoil]] = {
    "unknown property": ("dev", put("FinishQueue", "Colour", value="red")),
    "missing required property": ("dev", drop("StreamLambdaFunction", "Code")),
    "bad GetAtt": ("dev", put("UnsavedAlarm", "Dimensions", 0, "Value", value={"Fn::GetAtt": ["FinishQueue", "Nmae"]})),
    "dangling Ref": ("dev", put("FinishQueuePolicy", "Queues", value=[{"Ref": "NoQueue"}])),
    "circular dependency": ("dev", depend("RelayRole", "RelayLambdaFunction")),
}
SEEN_BY_US: dict[str, tuple[str, Spoil]] = {
    "time-out of 1000 s": ("dev", put("RelayLambdaFunction", "Timeout", value=1000)),
    "five retries": ("dev", put("RelayLambdaEvConf", "MaximumRetryAttempts", value=5)),
    "bad runtime": ("dev", put("StreamLambdaFunction", "Runtime", value="python3.99")),
    "bad statistic": ("dev", put("RelayErrorsAlarm", "Statistic", value="Total")),
    "action typo": ("dev", restate("ConnectRole", "Profile", Action="dynamodb:GetItems")),
    "every action on every resource": ("dev", allow("RelayRole", "*", "*")),
    "all of DynamoDB on everything": ("dev", allow("FinishRole", "dynamodb:*", "*")),
    "open security group": (
        "dev",
        put(
            "RedisSecurityGroup",
            "SecurityGroupIngress",
            value=[{"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "CidrIp": "0.0.0.0/0"}],
        ),
    ),
    "AuthToken without TLS": ("prod", put("RedisCache", "TransitEncryptionEnabled", value=False)),
    "no encryption at rest": ("prod", drop("RedisCache", "AtRestEncryptionEnabled")),
    "literal secret": (
        "dev",
        put("RelayLambdaFunction", "Environment", "Variables", "PARTNER_SECRET", value="s3cr3t-s3cr3t-s3cr3t"),
    ),
    "resource of another service": (
        "dev",
        restate("ConnectRole", "Profile", Resource={"Fn::GetAtt": ["FinishQueue", "Arn"]}),
    ),
    "account in a foundation model's ARN": ("dev", restate("RelayRole", "Sonic", Resource=_MODEL_OF_AN_ACCOUNT)),
    "cache engine": ("dev", put("RedisCache", "Engine", value="valky")),
    "cache node type": ("prod", put("RedisCache", "CacheNodeType", value="cache.t9z.tiny")),
    "table without its own region": ("prod", put("Users", "Replicas", 0, "Region", value="us-west-2")),
    "table without a stream": ("prod", drop("Users", "StreamSpecification")),
    "unused attribute": (
        "dev",
        put(
            "Users",
            "AttributeDefinitions",
            value=[{"AttributeName": "user_id", "AttributeType": "S"}, {"AttributeName": "mail", "AttributeType": "S"}],
        ),
    ),
    "destination that the role may not reach": ("dev", forbid("RelayRole", "Unsaved")),
    "WAF on a WebSocket stage": (
        "dev",
        add(
            "Wall",
            "AWS::WAFv2::WebACLAssociation",
            WebACLArn="arn:aws:wafv2:us-east-1:1:regional/webacl/a/b",
            ResourceArn={"Fn::Sub": "arn:aws:apigateway:us-east-1::/apis/${WebsocketsApi}/stages/dev"},
        ),
    ),
    "metric that nobody emits": ("dev", put("AssessmentLostAlarm", "MetricName", value="AssessmentsLost")),
    "dashboard that is no JSON": ("dev", reword("Dashboard", '{"widgets"', '{widgets"')),
    "TTL of a WebSocket authorizer": (
        "dev",
        put("AuthorizeWebsocketsAuthorizer", "AuthorizerResultTtlInSeconds", value=60),
    ),
    "authorizer on $default": ("dev", put("SdefaultWebsocketsRoute", "AuthorizationType", value="CUSTOM")),
    "missing permission": ("dev", remove("StreamLambdaPermissionWebsockets")),
    "EDGE endpoint": ("prod", put("Domain", "DomainNameConfigurations", 0, "EndpointType", value="EDGE")),
}
OURS_BESIDES: dict[str, tuple[str, Spoil]] = {
    "no authorizer on $connect": ("dev", put("SconnectWebsocketsRoute", "AuthorizationType", value="NONE")),
    "no $default": ("dev", remove("SdefaultWebsocketsRoute")),
    "route to another function": (
        "dev",
        put(
            "streamWebsocketsRoute",
            "Target",
            value={"Fn::Join": ["/", ["integrations", {"Ref": "DisconnectWebsocketsIntegration"}]]},
        ),
    ),
    "permission for any API": ("dev", drop("ConnectLambdaPermissionWebsockets", "SourceArn")),
    "data trace logging": (
        "dev",
        put("WebsocketsDeploymentStage", "DefaultRouteSettings", "DataTraceEnabled", value=True),
    ),
    "execution logging": (
        "dev",
        put("WebsocketsDeploymentStage", "DefaultRouteSettings", "LoggingLevel", value="INFO"),
    ),
    "settings of the stage lost": (
        "dev",
        drop("WebsocketsDeploymentStage", "DefaultRouteSettings", "DataTraceEnabled"),
    ),
    "API without IPv6": ("dev", drop("WebsocketsApi", "IpAddressType")),
    "second record": (
        "prod",
        add(
            "Other",
            "AWS::Route53::RecordSet",
            Name="nova-sonic.example.com",
            Type="A",
            SetIdentifier="eu",
            Region="eu-west-1",
        ),
    ),
    "record by latency": ("prod", put("Record", "Region", value="us-east-1")),
    "Redis snapshots": ("dev", put("RedisCache", "SnapshotRetentionLimit", value=7)),
    "slow log": ("prod", put("RedisParameters", "Properties", "slowlog-log-slower-than", value="10000")),
    "log of commands": (
        "prod",
        put("RedisCache", "LogDeliveryConfigurations", value=[{"LogType": "slow-log", "LogFormat": "json"}]),
    ),
    "Redis without users": ("prod", drop("RedisCache", "UserGroupIds")),
    "MONITOR": ("dev", put("RedisRelayUser", "AccessString", value="on ~maya:* -@all +get +monitor")),
    "all of Redis": ("dev", put("RedisStreamUser", "AccessString", value="on ~* &* +@all")),
    "stream may listen": ("dev", put("RedisStreamUser", "AccessString", value="on &maya:{*}:up -@all +ssubscribe")),
    "literal Redis password": (
        "dev",
        put("RedisStreamUser", "AuthenticationMode", "Passwords", value=["hunter2hunter2hunter2"]),
    ),
    "Redis without TLS": (
        "dev",
        put(
            "StreamLambdaFunction",
            "Environment",
            "Variables",
            "REDIS_URL",
            value={"Fn::Sub": "redis://${RedisCache.Endpoint.Address}"},
        ),
    ),
    "no point-in-time recovery": (
        "prod",
        put(
            "Assessments", "Replicas", 2, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", value=False
        ),
    ),
    "table that can be deleted": ("prod", put("Users", "Replicas", 1, "DeletionProtectionEnabled", value=False)),
    "table not encrypted with KMS": ("dev", drop("Users", "SSESpecification")),
    "queue that forgets": ("dev", put("FinishQueue", "MessageRetentionPeriod", value=3600)),
    "queue that shows too soon": ("dev", put("FinishQueue", "VisibilityTimeout", value=60)),
    "operators who sign in as learners": (
        "prod",
        put("AppClient", "ExplicitAuthFlows", value=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]),
    ),
    "passwords sent as they are": ("dev", put("AppClient", "ExplicitAuthFlows", value=["ALLOW_USER_PASSWORD_AUTH"])),
    "stream may call Bedrock": (
        "dev",
        allow(
            "StreamRole", "bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0"
        ),
    ),
    "finish may post to phones": (
        "dev",
        allow(
            "FinishRole",
            "execute-api:ManageConnections",
            {"Fn::Sub": "arn:aws:execute-api:us-east-1:1:${WebsocketsApi}/dev/POST/@connections/*"},
        ),
    ),
    "action that is never called": (
        "dev",
        restate("ConnectRole", "Profile", Action=["dynamodb:GetItem", "dynamodb:Scan"]),
    ),
    "call without being allowed": ("dev", forbid("StreamRole", "Phones")),
    "any model": ("dev", restate("RelayRole", "Sonic", Resource="arn:aws:bedrock:us-east-1::foundation-model/*")),
    "another's log": (
        "dev",
        restate("ConnectRole", "Logs", Resource={"Fn::Sub": "arn:aws:logs:us-east-1:${AWS::AccountId}:log-group:*"}),
    ),
    "one role for two functions": (
        "dev",
        put("DisconnectLambdaFunction", "Role", value={"Fn::GetAtt": ["StreamRole", "Arn"]}),
    ),
    "role that others may take": (
        "dev",
        put("RelayRole", "AssumeRolePolicyDocument", "Statement", 0, "Principal", value={"AWS": "arn:aws:iam::1:root"}),
    ),
    "connect in the VPC": (
        "dev",
        put(
            "ConnectLambdaFunction",
            "VpcConfig",
            value={"SubnetIds": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}], "Ipv6AllowedForDualStack": True},
        ),
    ),
    "relay outside the VPC": ("dev", drop("RelayLambdaFunction", "VpcConfig")),
    "no reserved concurrency": ("dev", drop("StreamLambdaFunction", "ReservedConcurrentExecutions")),
    "ghost relays": ("dev", remove("RelayLambdaEvConf")),
    "relays that died, untold": ("dev", drop("RelayLambdaEvConf", "DestinationConfig")),
    "relay by x86": ("dev", put("RelayLambdaFunction", "Architectures", value=["x86_64"])),
    "handler that does not exist": ("dev", put("FinishLambdaFunction", "Handler", value="handlers.finish.main")),
    "another's artefact": ("dev", put("FinishLambdaFunction", "Code", "S3Key", value="x/stream.zip")),
    "setting that nobody reads": (
        "dev",
        put("RelayLambdaFunction", "Environment", "Variables", "MAYA_LINSE", value="3"),
    ),
    "setting that is missing": (
        "dev",
        drop("RelayLambdaFunction", "Environment", "Variables", "MAYA_FINISH_QUEUE_URL"),
    ),
    "another relay": (
        "dev",
        put("StreamLambdaFunction", "Environment", "Variables", "MAYA_RELAY_FUNCTION", value="maya-prod-relay"),
    ),
    "log for ever": ("dev", drop("RelayLogGroup", "RetentionInDays")),
    "dashboard with an old metric": ("dev", reword("Dashboard", '"PartsBegun"', '"PartsStarted"')),
    "dashboard with a wrong dimension": ("dev", reword("Dashboard", '"outcome", "saved"', '"outcome", "safe"')),
    "alarm that tells nobody": ("dev", drop("LagAlarm", "AlarmActions")),
    "no way out of the VPC": ("dev", remove("EgressGateway")),
    "endpoint for public APIs": (
        "dev",
        add(
            "ApiEndpoint",
            "AWS::EC2::VPCEndpoint",
            ServiceName="com.amazonaws.us-east-1.execute-api",
            PolicyDocument={"Statement": []},
        ),
    ),
    "endpoint to everybody's tables": ("dev", drop("DynamodbEndpoint", "PolicyDocument")),
    "a bucket": ("dev", add("Recordings", "AWS::S3::Bucket")),
    "a stream of logs": ("dev", add("Copy", "AWS::Logs::SubscriptionFilter", DestinationArn="x")),
}

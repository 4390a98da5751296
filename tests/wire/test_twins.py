"""Calls of different services that are one on the wire: counted over all services, and frozen by name.

They share host, protocol, version and words, so that no reader can tell them apart: a database of DocumentDB is asked
for as one of RDS. Policy must allow each. A new botocore that adds or ends one changes this list, and is looked at.
That no other service has any is seen by test_round_trip.py, which reads every operation.
"""

from collections import defaultdict

import pytest

from addons import wire
from addons.wire import models
from tests.wire import capture
from tests.wire.capture import Client, frozen, operations
from tests.wire.parameters import Generator

TWINS = {
    "docdb neptune rds": """
        AddSourceIdentifierToSubscription AddTagsToResource ApplyPendingMaintenanceAction
        CopyDBClusterParameterGroup CopyDBClusterSnapshot CreateDBCluster CreateDBClusterParameterGroup
        CreateDBClusterSnapshot CreateDBInstance CreateDBSubnetGroup CreateEventSubscription
        CreateGlobalCluster DeleteDBCluster DeleteDBClusterParameterGroup DeleteDBClusterSnapshot
        DeleteDBInstance DeleteDBSubnetGroup DeleteEventSubscription DeleteGlobalCluster
        DescribeDBClusterParameterGroups DescribeDBClusterParameters DescribeDBClusterSnapshotAttributes
        DescribeDBClusterSnapshots DescribeDBClusters DescribeDBEngineVersions DescribeDBInstances
        DescribeDBSubnetGroups DescribeEngineDefaultClusterParameters DescribeEventCategories
        DescribeEventSubscriptions DescribeEvents DescribeGlobalClusters DescribeOrderableDBInstanceOptions
        DescribePendingMaintenanceActions DescribeServerlessV2PlatformVersions FailoverDBCluster
        FailoverGlobalCluster ListTagsForResource ModifyDBCluster ModifyDBClusterParameterGroup
        ModifyDBClusterSnapshotAttribute ModifyDBInstance ModifyDBSubnetGroup ModifyEventSubscription
        ModifyGlobalCluster RebootDBInstance RemoveFromGlobalCluster RemoveSourceIdentifierFromSubscription
        RemoveTagsFromResource ResetDBClusterParameterGroup RestoreDBClusterFromSnapshot
        RestoreDBClusterToPointInTime StartDBCluster StopDBCluster SwitchoverGlobalCluster
    """,
    "docdb rds": """
        DescribeCertificates
    """,
    "greengrass greengrassv2": """
        AssociateServiceRoleToAccount DisassociateServiceRoleFromAccount GetConnectivityInfo
        GetServiceRoleForAccount ListTagsForResource TagResource UntagResource UpdateConnectivityInfo
    """,
    "lambda lambda-microvms": """
        ListTags TagResource UntagResource
    """,
    "neptune rds": """
        AddRoleToDBCluster CopyDBParameterGroup CreateDBClusterEndpoint CreateDBParameterGroup
        DeleteDBClusterEndpoint DeleteDBParameterGroup DescribeDBClusterEndpoints DescribeDBParameterGroups
        DescribeDBParameters DescribeEngineDefaultParameters DescribeValidDBInstanceModifications
        ModifyDBClusterEndpoint ModifyDBParameterGroup PromoteReadReplicaDBCluster RemoveRoleFromDBCluster
        ResetDBParameterGroup
    """,
    "pinpoint-sms-voice sms-voice": """
        CreateConfigurationSet CreateConfigurationSetEventDestination DeleteConfigurationSet
        DeleteConfigurationSetEventDestination GetConfigurationSetEventDestinations ListConfigurationSets
        SendVoiceMessage UpdateConfigurationSetEventDestination
    """,
    "qconnect wisdom": """
        CreateAssistant CreateAssistantAssociation CreateContent CreateKnowledgeBase CreateQuickResponse
        CreateSession DeleteAssistant DeleteAssistantAssociation DeleteContent DeleteImportJob
        DeleteKnowledgeBase DeleteQuickResponse GetAssistant GetAssistantAssociation GetContent
        GetContentSummary GetImportJob GetKnowledgeBase GetQuickResponse GetRecommendations GetSession
        ListAssistantAssociations ListAssistants ListContents ListImportJobs ListKnowledgeBases
        ListQuickResponses ListTagsForResource NotifyRecommendationsReceived QueryAssistant
        RemoveKnowledgeBaseTemplateUri SearchContent SearchQuickResponses SearchSessions StartContentUpload
        StartImportJob TagResource UntagResource UpdateContent UpdateKnowledgeBaseTemplateUri
        UpdateQuickResponse
    """,
    "signer signer-data": """
        GetRevocationStatus
    """,
}


def found_in(services: set[str]) -> dict[str, set[str]]:
    """The twins that the requests of these services are read as: services, in one string, and operations."""
    found: dict[str, set[str]] = defaultdict(set)
    with frozen():
        for service in sorted(services):
            client = Client(service)
            for name in operations(client):
                params = Generator(models.operation_model(service, name), False).parameters()
                decoded = wire.decode(client.request(name, params)[0])
                owners = {owner for owner, _ in decoded.candidates}
                if len(owners) > 1:
                    assert {operation for _, operation in decoded.candidates} == {name}
                    found[" ".join(sorted(owners))].add(name)
            capture.loader.cache_clear()
    return found


NAMES = {services: set(names.split()) for services, names in TWINS.items()}


def listed(owners: set[str], operation: str) -> bool:
    """Whether these services may share an operation. What some have no member for is shared by fewer."""
    return any(owners <= set(services.split()) and operation in names for services, names in NAMES.items())


def test_there_are_133() -> None:
    assert sum(map(len, NAMES.values())) == 133


@pytest.mark.parametrize("services", TWINS)
def test_twins_are_these(services: str) -> None:
    assert found_in(set(services.split()))[services] == NAMES[services]

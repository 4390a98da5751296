"""Calls of different services that are one on the wire, by name.

They share host, protocol, version and words, so that no reader can tell them apart: a database of DocumentDB is asked
for as one of RDS. Policy must allow each. A new botocore that adds or ends one changes this list, and is looked at.
"""

TWINS = {  # services: the operations that they share
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
NAMES = {services: set(names.split()) for services, names in TWINS.items()}


def listed(owners: set[str], operation: str) -> bool:
    """Whether these services may share an operation. What some have no member for is shared by fewer."""
    return any(owners <= set(services.split()) and operation in names for services, names in NAMES.items())

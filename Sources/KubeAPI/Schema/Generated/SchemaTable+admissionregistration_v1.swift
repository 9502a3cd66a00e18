// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// admissionregistration/v1: 46 types.
    static var admissionregistration_v1: StaticString {
#"""
ApplyConfiguration expression:s:1:o
AuditAnnotation key:s:1:r valueExpression:s:2:r
ExpressionWarning fieldRef:s:2:r warning:s:3:r
FailurePolicyType =Fail,Ignore
JSONPatch expression:s:1:o
MatchCondition name:s:1:r expression:s:2:r
MatchPolicyType =Equivalent,Exact
MatchResources namespaceSelector:meta/v1.LabelSelector:1:opX:d={} objectSelector:meta/v1.LabelSelector:2:opX:d={} resourceRules:[NamedRuleWithOperations:3:oA excludeResourceRules:[NamedRuleWithOperations:4:oA matchPolicy:=MatchPolicyType:7:op:d="Equivalent"
MutatingAdmissionPolicy ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:MutatingAdmissionPolicySpec:2:o
MutatingAdmissionPolicyBinding ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:MutatingAdmissionPolicyBindingSpec:2:o
MutatingAdmissionPolicyBindingList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[MutatingAdmissionPolicyBinding:2:r
MutatingAdmissionPolicyBindingSpec policyName:s:1:o paramRef:ParamRef:2:opX matchResources:MatchResources:3:opX
MutatingAdmissionPolicyList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[MutatingAdmissionPolicy:2:r
MutatingAdmissionPolicySpec paramKind:ParamKind:1:opX matchConstraints:MatchResources:2:opX variables:[Variable:3:oA mutations:[Mutation:4:oA failurePolicy:=FailurePolicyType:5:op:d="Fail" matchConditions:[MatchCondition:6:oM+:k=name;g=name reinvocationPolicy:=ReinvocationPolicyType:7:o
MutatingWebhook name:s:1:r clientConfig:WebhookClientConfig:2:r rules:[RuleWithOperations:3:oA failurePolicy:=FailurePolicyType:4:op:d="Fail" matchPolicy:=MatchPolicyType:9:op:d="Equivalent" namespaceSelector:meta/v1.LabelSelector:5:opX:d={} objectSelector:meta/v1.LabelSelector:11:opX:d={} sideEffects:=SideEffectClass:6:rp timeoutSeconds:i:7:op:d=10 admissionReviewVersions:[s:8:rA reinvocationPolicy:=ReinvocationPolicyType:10:op:d="Never" matchConditions:[MatchCondition:12:oM+:k=name;g=name
MutatingWebhookConfiguration ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o webhooks:[MutatingWebhook:2:oM+:k=name;g=name
MutatingWebhookConfigurationList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[MutatingWebhookConfiguration:2:r
Mutation patchType:=PatchType:2:r applyConfiguration:ApplyConfiguration:3:op jsonPatch:JSONPatch:4:op
NamedRuleWithOperations resourceNames:[s:1:oA ^:RuleWithOperations:2:
OperationType =*,CONNECT,CREATE,DELETE,UPDATE
ParamKind apiVersion:s:1:o kind:s:2:o
ParamRef name:s:1:o namespace:s:2:o selector:meta/v1.LabelSelector:3:opX parameterNotFoundAction:=ParameterNotFoundActionType:4:op
ParameterNotFoundActionType =
PatchType =ApplyConfiguration,JSONPatch
ReinvocationPolicyType =IfNeeded,Never
Rule apiGroups:[s:1:oA apiVersions:[s:2:oA resources:[s:3:oA scope:=ScopeType:4:op:d="*"
RuleWithOperations operations:[=OperationType:1:oA ^:Rule:2:
ScopeType =*,Cluster,Namespaced
ServiceReference namespace:s:1:r name:s:2:r path:s:3:op port:i:4:op:d=443
SideEffectClass =None,NoneOnDryRun,Some,Unknown
TypeChecking expressionWarnings:[ExpressionWarning:1:oA
ValidatingAdmissionPolicy ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ValidatingAdmissionPolicySpec:2:o status:ValidatingAdmissionPolicyStatus:3:o
ValidatingAdmissionPolicyBinding ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:ValidatingAdmissionPolicyBindingSpec:2:ro
ValidatingAdmissionPolicyBindingList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ValidatingAdmissionPolicyBinding:2:r
ValidatingAdmissionPolicyBindingSpec policyName:s:1:ro paramRef:ParamRef:2:opX matchResources:MatchResources:3:opX validationActions:[=ValidationAction:4:roS
ValidatingAdmissionPolicyConditionType =
ValidatingAdmissionPolicyList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ValidatingAdmissionPolicy:2:r
ValidatingAdmissionPolicySpec paramKind:ParamKind:1:opX matchConstraints:MatchResources:2:opX validations:[Validation:3:oA failurePolicy:=FailurePolicyType:4:op:d="Fail" auditAnnotations:[AuditAnnotation:5:oA matchConditions:[MatchCondition:6:oM+:k=name;g=name variables:[Variable:7:oM+:k=name;g=name
ValidatingAdmissionPolicyStatus observedGeneration:l:1:o typeChecking:TypeChecking:2:op conditions:[meta/v1.Condition:3:oM:k=type
ValidatingWebhook name:s:1:r clientConfig:WebhookClientConfig:2:r rules:[RuleWithOperations:3:oA failurePolicy:=FailurePolicyType:4:op:d="Fail" matchPolicy:=MatchPolicyType:9:op:d="Equivalent" namespaceSelector:meta/v1.LabelSelector:5:opX:d={} objectSelector:meta/v1.LabelSelector:10:opX:d={} sideEffects:=SideEffectClass:6:rp timeoutSeconds:i:7:op:d=10 admissionReviewVersions:[s:8:rA matchConditions:[MatchCondition:11:oM+:k=name;g=name
ValidatingWebhookConfiguration ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o webhooks:[ValidatingWebhook:2:oM+:k=name;g=name
ValidatingWebhookConfigurationList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ValidatingWebhookConfiguration:2:r
Validation expression:s:1:r message:s:2:o reason:=meta/v1.StatusReason:3:op messageExpression:s:4:o
ValidationAction =Audit,Deny,Warn
Variable name:s:1:r expression:s:2:r
WebhookClientConfig url:s:3:op service:ServiceReference:1:op caBundle:y:2:o
"""#
    }
}

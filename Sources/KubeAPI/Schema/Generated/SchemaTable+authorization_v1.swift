// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// authorization/v1: 15 types.
    static var authorization_v1: StaticString {
#"""
FieldSelectorAttributes rawSelector:s:1:o requirements:[meta/v1.FieldSelectorRequirement:2:oA
LabelSelectorAttributes rawSelector:s:1:o requirements:[meta/v1.LabelSelectorRequirement:2:oA
LocalSubjectAccessReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:SubjectAccessReviewSpec:2:r status:SubjectAccessReviewStatus:3:o
NonResourceAttributes path:s:1:o verb:s:2:o
NonResourceRule verbs:[s:1:rA nonResourceURLs:[s:2:oA
ResourceAttributes namespace:s:1:o verb:s:2:o group:s:3:o version:s:4:o resource:s:5:o subresource:s:6:o name:s:7:o fieldSelector:FieldSelectorAttributes:8:op labelSelector:LabelSelectorAttributes:9:op
ResourceRule verbs:[s:1:rA apiGroups:[s:2:oA resources:[s:3:oA resourceNames:[s:4:oA
SelfSubjectAccessReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:SelfSubjectAccessReviewSpec:2:r status:SubjectAccessReviewStatus:3:o
SelfSubjectAccessReviewSpec resourceAttributes:ResourceAttributes:1:op nonResourceAttributes:NonResourceAttributes:2:op
SelfSubjectRulesReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:SelfSubjectRulesReviewSpec:2:r status:SubjectRulesReviewStatus:3:o
SelfSubjectRulesReviewSpec namespace:s:1:o
SubjectAccessReview ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:SubjectAccessReviewSpec:2:r status:SubjectAccessReviewStatus:3:o
SubjectAccessReviewSpec resourceAttributes:ResourceAttributes:1:op nonResourceAttributes:NonResourceAttributes:2:op user:s:3:o groups:[s:4:oA extra:{[s:5:o uid:s:6:o
SubjectAccessReviewStatus allowed:b:1:r denied:b:4:o reason:s:2:o evaluationError:s:3:o
SubjectRulesReviewStatus resourceRules:[ResourceRule:1:rA nonResourceRules:[NonResourceRule:2:rA incomplete:b:3:r evaluationError:s:4:o
"""#
    }
}

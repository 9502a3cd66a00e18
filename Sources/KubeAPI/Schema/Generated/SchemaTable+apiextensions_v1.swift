// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// apiextensions/v1: 29 types.
    static var apiextensions_v1: StaticString {
#"""
ConditionStatus =
ConversionRequest uid:s:1:r:n=types.UID desiredAPIVersion:s:2:r objects:[r:3:rA
ConversionResponse uid:s:1:r:n=types.UID convertedObjects:[r:2:rA result:meta/v1.Status:3:r
ConversionReview ^:meta/v1.TypeMeta:0: request:ConversionRequest:1:op response:ConversionResponse:2:op
ConversionStrategyType =
CustomResourceColumnDefinition name:s:1:r type:s:2:r format:s:3:o description:s:4:o priority:i:5:o jsonPath:s:6:r
CustomResourceConversion strategy:=ConversionStrategyType:1:r webhook:WebhookConversion:2:op
CustomResourceDefinition ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:CustomResourceDefinitionSpec:2:r status:CustomResourceDefinitionStatus:3:o
CustomResourceDefinitionCondition type:=CustomResourceDefinitionConditionType:1:r status:=ConditionStatus:2:r lastTransitionTime:t:3:o reason:s:4:o message:s:5:o observedGeneration:l:6:o
CustomResourceDefinitionConditionType =
CustomResourceDefinitionList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[CustomResourceDefinition:2:r
CustomResourceDefinitionNames plural:s:1:r singular:s:2:o shortNames:[s:3:oA kind:s:4:r listKind:s:5:o categories:[s:6:oA
CustomResourceDefinitionSpec group:s:1:r names:CustomResourceDefinitionNames:3:r scope:=ResourceScope:4:r versions:[CustomResourceDefinitionVersion:7:rA conversion:CustomResourceConversion:9:op preserveUnknownFields:b:10:o
CustomResourceDefinitionStatus conditions:[CustomResourceDefinitionCondition:1:M:k=type acceptedNames:CustomResourceDefinitionNames:2: storedVersions:[s:3:A observedGeneration:l:4:o
CustomResourceDefinitionVersion name:s:1:r served:b:2:r storage:b:3:r deprecated:b:7:o deprecationWarning:s:8:op schema:CustomResourceValidation:4:op subresources:CustomResourceSubresources:5:op additionalPrinterColumns:[CustomResourceColumnDefinition:6:oA selectableFields:[SelectableField:9:oA
CustomResourceSubresourceScale specReplicasPath:s:1:r statusReplicasPath:s:2:r labelSelectorPath:s:3:op
CustomResourceSubresourceStatus
CustomResourceSubresources status:CustomResourceSubresourceStatus:1:op scale:CustomResourceSubresourceScale:2:op
CustomResourceValidation openAPIV3Schema:JSONSchemaProps:1:op
ExternalDocumentation description:s:1:o url:s:2:o
FieldValueErrorReason =FieldValueDuplicate,FieldValueForbidden,FieldValueInvalid,FieldValueRequired
JSONSchemaProps id:s:1:o $schema:=JSONSchemaURL:2:o $ref:s:3:op description:s:4:o type:s:5:o format:s:6:o title:s:7:o default:j:8:op maximum:f:9:op exclusiveMaximum:b:10:o minimum:f:11:op exclusiveMinimum:b:12:o maxLength:l:13:op minLength:l:14:op pattern:s:15:o maxItems:l:16:op minItems:l:17:op uniqueItems:b:18:o multipleOf:f:19:op enum:[j:20:oA maxProperties:l:21:op minProperties:l:22:op required:[s:23:oA items:A:24:op allOf:[JSONSchemaProps:25:oA oneOf:[JSONSchemaProps:26:oA anyOf:[JSONSchemaProps:27:oA not:JSONSchemaProps:28:op properties:{JSONSchemaProps:29:o additionalProperties:B:30:op patternProperties:{JSONSchemaProps:31:o dependencies:{G:32:o:n=JSONSchemaDependencies additionalItems:B:33:op definitions:{JSONSchemaProps:34:o:n=JSONSchemaDefinitions externalDocs:ExternalDocumentation:35:op example:j:36:op nullable:b:37:o x-kubernetes-preserve-unknown-fields:b:38:op x-kubernetes-embedded-resource:b:39:o x-kubernetes-int-or-string:b:40:o x-kubernetes-list-map-keys:[s:41:oA x-kubernetes-list-type:s:42:op x-kubernetes-map-type:s:43:op x-kubernetes-validations:[ValidationRule:44:oM+:k=rule;g=rule;n=ValidationRules
JSONSchemaURL =
ResourceScope =
SelectableField jsonPath:s:1:r
ServiceReference namespace:s:1:r name:s:2:r path:s:3:op port:i:4:op:d=443
ValidationRule rule:s:1:r message:s:2:o messageExpression:s:3:o reason:=FieldValueErrorReason:4:op fieldPath:s:5:o optionalOldSelf:b:6:op
WebhookClientConfig url:s:3:op service:ServiceReference:1:op caBundle:y:2:o
WebhookConversion clientConfig:WebhookClientConfig:2:op conversionReviewVersions:[s:3:rA
"""#
    }
}

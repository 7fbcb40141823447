module devservers.io/tools/prices

go 1.26

require github.com/aws/karpenter-provider-aws v1.15.2

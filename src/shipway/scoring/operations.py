"""The operations that a stored model may hold: what recipes export, and arithmetic beside it.

A list of what is allowed, since what a runtime can do grows with each of its versions. None of these reads or writes a
file, opens a connection, calls back into Python or keeps state beyond the model's own variables.
tests/local/test_model_vetting.py exports every architecture and holds them against these lists.
"""

from __future__ import annotations

import os

SETTING = "SHIPWAY_OPERATIONS"  # more of them, comma-separated: a person's or a deployment's word, never a manifest's

# Checkpoints are written and read by these; only in the two functions that a SavedModel's saver names, which nothing
# that is served calls.
SAVER = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})

_TENSORFLOW = """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh AssignVariableOp Atan Atan2 Atanh AvgPool
    AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BiasAddGrad Bitcast BitwiseAnd
    BitwiseOr BitwiseXor BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize Cast Ceil ClipByValue
    ConcatOffset ConcatV2 Const Conv1D Conv2D Conv3D Cos Cosh CudnnRNNBackpropV3 CudnnRNNV3 Cumprod Cumsum
    DepthwiseConv2dNative Diag DiagPart Digamma DisableCopyOnRead DivNoNan Einsum Elu EmptyTensorList EnsureShape
    Equal Erf Erfc Erfinv Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNormV3 GatherNd GatherV2
    Greater GreaterEqual Identity IdentityN If InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu LeftShift
    Less LessEqual Lgamma LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart
    MatrixDiagV3 MatrixSetDiagV3 Max MaxPool MaxPool3D MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan
    Ndtri Neg NoOp NotEqual OneHot OnesLike OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone Pack
    Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod Range Rank ReadVariableOp
    RealDiv Reciprocal Relu Relu6 Reshape ResourceGather ResourceGatherNd ReverseSequence ReverseV2 RightShift Rint
    Round Rsqrt ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN
    Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign
    SpaceToBatchND SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseSoftmaxCrossEntropyWithLogits Split
    SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessRandomGetKeyCounter
    StatelessRandomNormalV2 StatelessRandomUniformFullIntV2 StatelessRandomUniformV2 StatelessWhile
    StaticRegexFullMatch StopGradient StridedSlice StridedSliceGrad StringJoin Sub Sum Tan Tanh TanhGrad
    TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem
    TensorListSplit TensorListStack TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv Unique
    UniqueV2 Unpack UnsortedSegmentMax UnsortedSegmentMean UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
    VarHandleOp VarIsInitializedOp Where While Xdivy Xlogy ZerosLike
"""
TENSORFLOW = frozenset(_TENSORFLOW.split())

# Of the domain "" (ai.onnx). Constants are bounded by their bytes, the ones in GROWING by what
# their inputs say (shipway.scoring.onnx_sizes).
GROWING = frozenset({"ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Tile"})
_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu
    Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
    LeakyRelu Less LessOrEqual Log LogSoftmax Max Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
    Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
_OTHERS = """
    ArgMax ArgMin AveragePool BatchNormalization Compress Concat Constant Conv CumSum Dropout Einsum Flatten GRU
    Gather GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool GroupNormalization If InstanceNormalization
    LSTM LayerNormalization Loop LpNormalization MatMul MaxPool Mean NonZero RNN ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape ReverseSequence
    ScatterElements ScatterND Shape Size Slice Split Squeeze TopK Transpose Trilu Unsqueeze
"""
# Of the domain ai.onnx.ml, what scikit-learn's linear models and trees are exported as. Numbers in, numbers out, and as
# many of them as their own attributes say; ONNX Runtime holds those against each other when it opens a file and against
# the rows when it runs (tests/unit/scoring/test_onnx_ml.py). Not here: what gives maps or reads strings (ZipMap,
# DictVectorizer, LabelEncoder), and kernel machines.
_ML = """
    ArrayFeatureExtractor LinearClassifier LinearRegressor Normalizer Scaler TreeEnsembleClassifier
    TreeEnsembleRegressor
"""
ML = frozenset(f"ai.onnx.ml:{name}" for name in _ML.split())
ONNX = GROWING | ELEMENTWISE | ML | frozenset(_OTHERS.split())


def allowed(shipped: frozenset[str]) -> frozenset[str]:
    """The shipped list and what this environment adds."""
    return shipped | frozenset(os.environ.get(SETTING, "").replace(",", " ").split())
